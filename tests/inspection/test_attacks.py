"""Attacks stay in their ball, take Foolbox's steps, and notice wrong units and masked gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.data.normalisation import MNIST_NORMALISATION
from mnist_lab.inspection.attacks import (
    NORMS,
    climb,
    cross_entropy,
    fgsm,
    margin_loss,
    pgd,
    read_right,
    share_without_gradient,
    square_attack,
)
from mnist_lab.inspection.pixels import PixelNetwork, as_pixels

with warnings.catch_warnings():  # it imports from where SciPy no longer wants to be imported from
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox

Attack = Callable[..., Tensor]
ATTACKS: dict[str, tuple[Attack, dict[str, Any]]] = {
    "FGSM": (fgsm, {}),
    "PGD": (pgd, {"steps": 10}),
    "PGD, l2": (pgd, {"steps": 10, "norm": "l2"}),
    "PGD on the margin": (pgd, {"steps": 10, "loss": margin_loss, "restarts": 2}),
    "squares": (square_attack, {"queries": 60}),
}
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def digits(small_sets: tuple[DigitSet, DigitSet]) -> tuple[Tensor, Tensor]:
    """A hundred digits that the network has not learnt from: pixels and labels."""
    validation = small_sets[1]
    return as_pixels(validation.images[:100]), torch.from_numpy(validation.labels[:100])


def accuracy(network: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    return read_right(network, pixels, labels).float().mean().item()


def length(change: Tensor, norm: str) -> Tensor:
    return change.flatten(1).abs().amax(1) if norm == "linf" else change.flatten(1).norm(dim=1)


class Scaled(nn.Module):
    """A network whose logits are so many times as large: it answers the same, and looks sure."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.model(images)
        return logits


class TestEach:
    @pytest.mark.parametrize("epsilon", [0.05, 0.3])
    @pytest.mark.parametrize("name", ATTACKS)
    def test_stays_in_the_ball_and_on_paper(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str, epsilon: float
    ) -> None:
        attack, options = ATTACKS[name]
        norm = options.get("norm", "linf")
        radius = epsilon if norm == "linf" else 20 * epsilon
        before = digits[0].clone()
        changed = attack(network, *digits, radius, **options)
        assert changed.shape == before.shape
        assert length(changed - before, norm).max() <= radius + 20 * ROUNDING
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert torch.equal(digits[0], before)
        assert accuracy(network, changed, digits[1]) < accuracy(network, *digits)

    @pytest.mark.parametrize("name", ATTACKS)
    def test_an_epsilon_of_0_changes_nothing(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str
    ) -> None:
        attack, options = ATTACKS[name]
        assert torch.equal(attack(network, *digits, 0.0, **options), digits[0])

    @pytest.mark.parametrize("name", ATTACKS)
    def test_leaves_what_is_misread_as_it_is(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str
    ) -> None:
        attack, options = ATTACKS[name]
        pixels, labels = digits
        others = labels.clone()
        others[::2] = (labels[::2] + 1) % 10  # every other one counts as misread
        right = read_right(network, pixels, others)
        changed = attack(network, pixels, others, 0.2, **options)
        assert torch.equal(changed[~right], pixels[~right])
        assert (changed[right] != pixels[right]).flatten(1).any(1).all()

    @pytest.mark.parametrize("name", ATTACKS)
    def test_leaves_the_network_as_it_is_and_comes_out_the_same_again(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str
    ) -> None:
        attack, options = ATTACKS[name]
        network.zero_grad()
        before = [p.detach().clone() for p in network.parameters()]
        once, again = (attack(network, *digits, 0.1, **options) for _ in range(2))
        assert torch.equal(once, again)
        assert all(map(torch.equal, before, network.parameters()))
        assert all(p.grad is None for p in network.parameters())
        assert not network.training

    @pytest.mark.parametrize("name", ATTACKS)
    def test_takes_no_digits_and_none_that_is_read_rightly(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str
    ) -> None:
        attack, options = ATTACKS[name]
        for some in (~read_right(network, *digits), torch.zeros(100, dtype=torch.bool)):
            pixels, labels = digits[0][some], digits[1][some]
            assert torch.equal(attack(network, pixels, labels, 0.1, **options), pixels)

    @pytest.mark.parametrize("name", ATTACKS)
    def test_refuses_normalised_images_and_an_epsilon_below_0(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], name: str
    ) -> None:
        attack, options = ATTACKS[name]
        normalised = MNIST_NORMALISATION(255 * digits[0])
        with pytest.raises(ValueError, match=r"from 0 to 1, found -0\.424 to 2\.82"):
            attack(network.model, normalised, digits[1], 0.1, **options)
        with pytest.raises(ValueError, match="epsilon must be 0 or more"):
            attack(network, *digits, -0.1, **options)


class TestStrength:
    @pytest.mark.parametrize("epsilon", [0.05, 0.1, 0.2])
    def test_many_steps_are_at_least_as_strong_as_one(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], epsilon: float
    ) -> None:
        one = accuracy(network, fgsm(network, *digits, epsilon), digits[1])
        many = accuracy(network, pgd(network, *digits, epsilon), digits[1])
        assert many <= one
        assert epsilon < 0.1 or many < one  # and beyond the smallest of them stronger

    @pytest.mark.parametrize("norm", NORMS)
    def test_more_restarts_are_never_weaker(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor], norm: str
    ) -> None:
        epsilon = 0.08 if norm == "linf" else 1.0
        left = None
        for restarts in (1, 2, 4):
            # Few steps, so that the start matters.
            changed = pgd(network, *digits, epsilon, norm=norm, steps=2, restarts=restarts)
            right = read_right(network, changed, digits[1])
            assert left is None or not (right & ~left).any()
            left = right
        assert left is not None
        assert 0 < left.float().mean() < 1

    def test_a_larger_ball_leaves_less(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        for attack in (pgd, square_attack):
            left = [
                accuracy(network, attack(network, *digits, e), digits[1]) for e in (0, 0.1, 0.3)
            ]
            assert left[0] > left[1] > left[2]

    def test_squares_are_stronger_than_as_many_random_changes(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        pixels, labels = digits
        generator = torch.Generator().manual_seed(0)
        left = read_right(network, *digits)
        for _ in range(100):
            signs = torch.randint(0, 2, pixels.shape, generator=generator) * 2 - 1
            left &= read_right(network, (pixels + 0.1 * signs).clamp(0, 1), labels)
        squares = square_attack(network, *digits, 0.1, queries=100)
        assert accuracy(network, squares, labels) < left.float().mean()

    def test_from_the_digit_itself_there_is_one_run(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        with pytest.raises(ValueError, match="every run is the same"):
            pgd(network, *digits, 0.1, random_start=False, restarts=2)
        with pytest.raises(ValueError, match="no norm 'l1'; there are linf and l2"):
            pgd(network, *digits, 0.1, norm="l1")

    def test_starts_are_drawn_from_the_whole_ball(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        """Seen where no step follows, on grey paper, from which nothing is cut off."""
        grey = torch.full_like(digits[0], 0.5)
        labels = network(grey).argmax(1)
        starts = pgd(network, grey, labels, 0.2, steps=0, rate=0.0) - grey
        assert starts.abs().max() == pytest.approx(0.2, abs=1e-3)
        assert starts.std() == pytest.approx(0.2 / 3**0.5, rel=0.02)
        starts = pgd(network, grey, labels, 2.0, steps=0, rate=0.0, norm="l2") - grey
        lengths = length(starts, "l2")
        # The volume of a ball of 784 dimensions is near its rim: r = 2 u^(1/784).
        assert lengths.max() <= 2 + 1e-5
        assert 1.9 < lengths.min() < lengths.max()


class TestFoolbox:
    """The same steps as Foolbox takes, number by number."""

    @pytest.fixture
    def theirs(self, network: PixelNetwork) -> Any:
        return foolbox.PyTorchModel(network, bounds=(0, 1))

    @pytest.fixture
    def right(self, network: PixelNetwork, digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Digits that are read rightly: Foolbox attacks the others too."""
        some = read_right(network, *digits)
        return digits[0][some], digits[1][some]

    def test_one_step(
        self, network: PixelNetwork, theirs: Any, right: tuple[Tensor, Tensor]
    ) -> None:
        attack = foolbox.attacks.LinfFastGradientAttack()
        expected, _, _ = attack(theirs, *right, epsilons=0.1)
        found = fgsm(network, *right, 0.1)
        # Where a gradient is within rounding of 0, its sign is nobody's.
        assert torch.isclose(found, expected, atol=ROUNDING).float().mean() > 0.9999

    @pytest.mark.parametrize(
        ("norm", "name", "epsilon"), [("linf", "LinfPGD", 0.1), ("l2", "L2PGD", 1.5)]
    )
    def test_many(
        self,
        network: PixelNetwork,
        theirs: Any,
        right: tuple[Tensor, Tensor],
        norm: str,
        name: str,
        epsilon: float,
    ) -> None:
        attack = getattr(foolbox.attacks, name)(
            steps=5, abs_stepsize=epsilon / 4, random_start=False
        )
        expected, _, misread = attack(theirs, *right, epsilons=epsilon)
        found = pgd(
            network, *right, epsilon, norm=norm, steps=5, rate=epsilon / 4, random_start=False
        )
        assert torch.isclose(found, expected, atol=1e-4).float().mean() > 0.995
        ours = ~read_right(network, found, right[1])
        assert (ours == misread).float().mean() > 0.98
        assert ours.float().mean() > 0.1

    def test_what_is_left_after_random_starts(
        self, network: PixelNetwork, theirs: Any, right: tuple[Tensor, Tensor]
    ) -> None:
        attack = foolbox.attacks.LinfPGD(steps=40)
        _, _, misread = attack(theirs, *right, epsilons=0.1)
        found = pgd(network, *right, 0.1)
        ours = ~read_right(network, found, right[1])
        assert ours.float().mean() == pytest.approx(misread.float().mean().item(), abs=0.05)


class TestUnits:
    """An epsilon of 0.2 in normalised units is one of 0.062 in pixels: the network looks robust."""

    def test_an_attack_in_normalised_units_hardly_attacks_and_leaves_the_paper(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        pixels, labels = digits
        images = MNIST_NORMALISATION(255 * pixels).requires_grad_()
        cross_entropy(network.model(images), labels).sum().backward()
        assert images.grad is not None
        changed = (images + 0.2 * images.grad.sign()).detach()  # as one sees it done
        in_pixels = changed * MNIST_NORMALISATION.deviation + MNIST_NORMALISATION.mean
        assert (in_pixels - pixels).abs().max() == pytest.approx(0.0616, abs=1e-4)
        assert in_pixels.min() == pytest.approx(-0.0616, abs=1e-4)
        honest = accuracy(network, fgsm(network, *digits, 0.2), labels)
        mistaken = (network.model(changed).argmax(1) == labels).float().mean()
        assert mistaken > honest + 0.3
        network.zero_grad(set_to_none=True)


class TestMaskedGradients:
    """A network that multiplies its logits by a million reads the same, and hides its gradient."""

    @pytest.fixture
    def masked(self, network: PixelNetwork) -> PixelNetwork:
        return PixelNetwork(Scaled(network.model, 1e6), network.normalisation)

    def test_reads_the_same(
        self, network: PixelNetwork, masked: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        assert torch.equal(network(digits[0]).argmax(1), masked(digits[0]).argmax(1))

    def test_is_noticed(
        self, network: PixelNetwork, masked: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        assert share_without_gradient(network, *digits) < 0.02
        assert share_without_gradient(masked, *digits) > 0.9
        assert share_without_gradient(masked, *digits, margin_loss) == 0

    def test_stops_what_goes_by_the_gradient_of_the_cross_entropy_and_nothing_else(
        self, network: PixelNetwork, masked: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        labels = digits[1]
        as_it_is = accuracy(network, *digits)
        open_ = accuracy(network, pgd(network, *digits, 0.2), labels)
        for attack in (fgsm, pgd):
            assert accuracy(masked, attack(masked, *digits, 0.2), labels) > as_it_is - 0.15
        assert open_ < 0.2
        by_margin = pgd(masked, *digits, 0.2, loss=margin_loss)
        without = square_attack(masked, *digits, 0.2)
        assert accuracy(masked, by_margin, labels) < 0.2
        assert accuracy(masked, without, labels) < 0.4
        # Squares ask which margin is higher, and a factor changes nothing in that.
        assert torch.equal(read_right(masked, without, labels), read_right(
            network, square_attack(network, *digits, 0.2), labels
        ))  # fmt: skip


class TestLosses:
    def test_the_margin_is_above_0_where_a_digit_is_misread(self) -> None:
        logits = torch.tensor([[1.0, 3.0, 2.0], [4.0, 1.0, 0.0]])
        found = margin_loss(logits, torch.tensor([2, 0]))
        assert found.tolist() == [1.0, -3.0]
        found = cross_entropy(logits, torch.tensor([2, 0]))
        assert found.tolist() == pytest.approx([1.407606, 0.065884], abs=1e-5)

    def test_a_climb_raises_the_loss_of_what_is_misread_too(
        self, network: PixelNetwork, digits: tuple[Tensor, Tensor]
    ) -> None:
        pixels, labels = digits
        others = (labels + 1) % 10
        climbed = climb(network, pixels, others, 0.1, pixels, steps=10)
        with torch.no_grad():
            gained = cross_entropy(network(climbed), others) - cross_entropy(
                network(pixels), others
            )
        assert (gained > 0).all()

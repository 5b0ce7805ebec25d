"""Augmentation: each change does what its name says, to the size that its range says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mnist_lab.data.mnist import MNIST
from mnist_lab.training import draws as draws_module
from mnist_lab.training.augmentation import Augmentation
from mnist_lab.training.draws import Draws

EVERYTHING = Augmentation(rotate=10, shift=2, scale=0.1, shear=8, elastic_strength=30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def force_draws(monkeypatch: pytest.MonkeyPatch, **draws: float) -> None:
    """Make every affine draw 0, or what is given, where -1 and 1 are the ends of the range."""
    names = ("rotate", "shear", "scale", "right", "down")
    values = torch.tensor([draws.get(name, 0.0) for name in names])

    def rand(rows: int, count: int, **_: object) -> Tensor:
        return ((values + 1) / 2)[:, None].expand(rows, count).clone()

    monkeypatch.setattr(draws_module.torch, "rand", rand)


@pytest.fixture
def pixels(mnist: MNIST) -> Tensor:
    return torch.from_numpy(mnist.train.images[:32]).unsqueeze(1).float()


def dots(count: int, height: int, width: int, row: int, column: int) -> Tensor:
    images = torch.zeros(count, 1, height, width)
    images[:, :, row, column] = 1
    return images


def centres(images: Tensor) -> np.ndarray:
    """Return the centre of mass (row, column) of every image: (n, 2)."""
    grey = images[:, 0].double().numpy()
    total = grey.sum((1, 2))
    rows = grey.sum(2) @ np.arange(grey.shape[1]) / total
    columns = grey.sum(1) @ np.arange(grey.shape[2]) / total
    return np.stack([rows, columns], 1)


class TestWhole:
    def test_zero_ranges_return_the_very_same_tensor(self, pixels: Tensor) -> None:
        assert Augmentation()(pixels, generator()) is pixels

    @pytest.mark.parametrize(
        "name",
        [
            *("rotate", "shift", "scale", "shear", "elastic_strength", "stroke"),
            *("aspect", "fill", "sharpen", "contrast", "noise"),
        ],
    )
    def test_each_range_switches_its_change_on(self, name: str, pixels: Tensor) -> None:
        augment = Augmentation(**{name: 0.5})
        assert not torch.equal(augment(pixels, generator()), pixels)

    def test_tiny_ranges_leave_the_images_as_they_are(self, pixels: Tensor) -> None:
        tiny = Augmentation(rotate=1e-4, shift=1e-4, scale=1e-6, shear=1e-4, elastic_strength=1e-4)
        changed = tiny(pixels, generator())
        assert torch.allclose(changed, pixels, atol=0.2)  # of 255 grey values
        assert changed.dtype == torch.float32
        assert changed.shape == pixels.shape

    def test_same_generator_state_same_images(self, pixels: Tensor) -> None:
        one, again, other = (EVERYTHING(pixels, generator(seed)) for seed in (5, 5, 6))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)

    def test_every_image_gets_its_own_change(self, pixels: Tensor) -> None:
        same = pixels[:1].repeat(8, 1, 1, 1)
        changed = EVERYTHING(same, generator()).flatten(1)
        assert len(torch.unique(changed, dim=0)) == 8

    def test_leaves_the_input_and_the_global_generator_alone(self, pixels: Tensor) -> None:
        before, state = pixels.clone(), torch.get_rng_state()
        EVERYTHING(pixels, generator())
        assert torch.equal(pixels, before)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_batch_equals_its_images_one_by_one_with_the_same_draws(
        self, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, drawn = torch.rand, []

        def keep(*size: int, generator: torch.Generator, device: torch.device) -> Tensor:
            drawn.append(real(*size, generator=generator, device=device))
            return drawn[-1]

        monkeypatch.setattr(draws_module.torch, "rand", keep)
        batch = EVERYTHING(pixels, generator())
        affine, noise = drawn  # (5, n) and (n, 2, height, width)
        for index in range(len(pixels)):
            single = iter((affine[:, index : index + 1], noise[index : index + 1]))
            monkeypatch.setattr(draws_module.torch, "rand", lambda *_, s=single, **__: next(s))
            alone = EVERYTHING(pixels[index : index + 1], generator())
            assert torch.allclose(alone[0], batch[index], atol=1e-3)

    def test_digits_stay_digits(self, pixels: Tensor) -> None:
        changed = EVERYTHING(pixels, generator())
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 255
        share = changed.sum((1, 2, 3)) / pixels.sum((1, 2, 3))
        assert float(share.min()) > 0.5  # a size of 0.9 leaves 0.81 of the ink, elastic takes more
        assert float(share.max()) < 1.5
        assert float(share.mean()) == pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"rotate": -1},
            {"stroke": 1.5},
            {"shift": -0.1},
            {"scale": -0.1},
            {"scale": 1.0},
            {"aspect": -0.1},
            {"fill": 1.1},
            {"sharpen": 1.1},
            {"contrast": 1.1},
            {"noise": -1},
            {"noise": math.inf},
            {"shear": -5},
            {"shear": 90},
            {"elastic_strength": -1},
            {"elastic_smoothness": 0},
            {"elastic_smoothness": -2},
            {"elastic_smoothness": math.nan},
            {"rotate": math.nan},
            {"shift": math.inf},
        ],
    )
    def test_refuses_a_bad_range_with_a_sentence(self, wrong: dict[str, float]) -> None:
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^{name} must be .*, found .*\.$"):
            Augmentation(**wrong)


class TestShift:
    @pytest.mark.parametrize(("right", "down"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, -1)])
    def test_whole_pixels_move_the_image_and_bring_in_zeros(
        self, right: int, down: int, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        force_draws(monkeypatch, right=right, down=down)
        moved = Augmentation(shift=2)(pixels, generator())
        expected = torch.zeros_like(pixels)
        padded = torch.nn.functional.pad(pixels, (2, 2, 2, 2))
        expected[:] = padded[:, :, 2 - 2 * down : 30 - 2 * down, 2 - 2 * right : 30 - 2 * right]
        assert torch.allclose(moved, expected, atol=1e-2)

    def test_stays_within_its_range_and_uses_it(self) -> None:
        moved = Augmentation(shift=3)(dots(4_000, 28, 28, 14, 14), generator()) + 1e-12
        offsets = centres(moved) - 14
        assert np.abs(offsets).max() <= 3 + 1e-4
        assert np.allclose(offsets.min(0), -3, atol=0.05)
        assert np.allclose(offsets.max(0), 3, atol=0.05)
        assert np.abs(offsets.mean(0)).max() < 0.1

    def test_is_in_pixels_of_the_result_whatever_else_is_drawn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        middle = dots(1, 29, 41, 14, 20)  # the pixel about which an image turns and grows
        force_draws(monkeypatch, rotate=1, scale=1, shear=1, right=1, down=-1)
        augment = Augmentation(rotate=40, scale=0.5, shear=20, shift=5)
        assert np.allclose(centres(augment(middle, generator())), [[14 - 5, 20 + 5]], atol=0.02)


class TestRotation:
    @pytest.mark.parametrize(("draw", "turns"), [(1, -1), (-1, 1)])
    def test_90_degrees_is_a_quarter_turn(
        self, draw: int, turns: int, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        force_draws(monkeypatch, rotate=draw)
        turned = Augmentation(rotate=90)(pixels, generator())
        either = [torch.rot90(pixels, k, (2, 3)) for k in (turns, -turns)]
        agrees = [torch.allclose(turned, quarter, atol=0.05) for quarter in either]
        assert sum(agrees) == 1

    def test_the_two_ends_of_the_range_are_opposite_turns(
        self, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        force_draws(monkeypatch, rotate=1)
        one = Augmentation(rotate=90)(pixels, generator())
        force_draws(monkeypatch, rotate=-1)
        other = Augmentation(rotate=90)(pixels, generator())
        assert torch.allclose(torch.rot90(one, 2, (2, 3)), other, atol=0.05)

    def test_is_rigid_where_an_image_is_not_square(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dot = dots(1, 29, 57, 14, 28 + 10)  # ten pixels right of the middle
        force_draws(monkeypatch, rotate=1)
        ((row, column),) = centres(Augmentation(rotate=90)(dot, generator()))
        assert abs(row - 14) == pytest.approx(10, abs=0.02)
        assert column == pytest.approx(28, abs=0.02)

    def test_stays_within_its_range_and_uses_it(self) -> None:
        turned = Augmentation(rotate=15)(dots(4_000, 41, 41, 20, 35), generator())
        row, column = (centres(turned) - 20).T
        degrees = np.degrees(np.arctan2(row, column))
        assert np.abs(degrees).max() < 15.3
        assert degrees.max() > 14.5
        assert degrees.min() < -14.5
        assert np.hypot(row, column) == pytest.approx(15, abs=0.3)


class TestScaleAndShear:
    def test_scale_draws_sizes_between_its_two_ends(self) -> None:
        grown = Augmentation(scale=0.2)(dots(4_000, 61, 61, 30, 50), generator())
        sizes = (centres(grown)[:, 1] - 30) / 20
        assert 0.79 < sizes.min() < 0.82
        assert 1.18 < sizes.max() < 1.21

    def test_scale_is_the_same_in_both_directions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        force_draws(monkeypatch, scale=1)
        ((row, column),) = centres(Augmentation(scale=0.5)(dots(1, 41, 61, 30, 40), generator()))
        assert (row - 20, column - 30) == pytest.approx((15, 15), abs=0.02)

    def test_shear_slants_and_keeps_the_height(self) -> None:
        slanted = Augmentation(shear=20)(dots(4_000, 41, 61, 35, 30), generator())
        row, column = centres(slanted).T
        assert row == pytest.approx(35, abs=0.02)
        degrees = np.degrees(np.arctan((column - 30) / 15))
        assert np.abs(degrees).max() < 20.3
        assert degrees.max() > 19.5
        assert degrees.min() < -19.5


class TestElastic:
    def displacements(self, height: int, width: int, strength: float, sigma: float) -> Tensor:
        augment = Augmentation(elastic_strength=strength, elastic_smoothness=sigma)
        return augment._displacements(torch.zeros(3, 1, height, width), Draws.of(generator(1), 3))

    @pytest.mark.parametrize(("height", "width"), [(28, 28), (20, 34)])
    @pytest.mark.parametrize("sigma", [0.7, 4.0])
    def test_equals_a_gaussian_blur_image_by_image(
        self, height: int, width: int, sigma: float
    ) -> None:
        found = self.displacements(height, width, 30, sigma)
        noise = torch.rand(3, 2, height, width, generator=generator(1)).double().numpy() * 2 - 1
        for axis, half in ((0, width / 2), (1, height / 2)):  # x first, as grid_sample has it
            for image in range(3):
                smooth = gaussian_filter(noise[image, axis], sigma, mode="constant", truncate=12)
                assert np.allclose(found[image, axis], smooth * 30 / half, atol=1e-5)

    def test_strength_multiplies(self) -> None:
        assert torch.allclose(
            self.displacements(28, 28, 60, 4), 2 * self.displacements(28, 28, 30, 4), atol=1e-6
        )

    def test_moves_ink_and_roughly_keeps_how_much_there_is(self, mnist: MNIST) -> None:
        pixels = torch.from_numpy(mnist.train.images[:500]).unsqueeze(1).float()
        warped = Augmentation(elastic_strength=34, elastic_smoothness=4)(pixels, generator())
        assert float((warped - pixels).abs().mean()) > 3
        assert float(warped.mean() / pixels.mean()) == pytest.approx(1, abs=0.03)

    def test_is_smooth(self) -> None:
        field = self.displacements(28, 28, 34, 4) * 14  # pixels
        assert float(field.abs().max()) > 0.5
        for axis in (2, 3):
            assert float(field.diff(dim=axis).abs().max()) < 0.5 * float(field.abs().max())


class TestStroke:
    def line(self) -> Tensor:
        """A line three pixels wide."""
        images = torch.zeros(1, 1, 28, 28)
        images[..., 8:20, 12:15] = 255
        return images

    @pytest.mark.parametrize(("draw", "width"), [(1, 5), (0.5, 4), (0, 3), (-0.5, 2), (-1, 1)])
    def test_a_line_gains_or_loses_on_both_sides(
        self, draw: float, width: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            draws_module.torch, "rand", lambda *size, **_: torch.full(size, (draw + 1) / 2)
        )
        (changed,) = Augmentation(stroke=1)(self.line(), generator())
        assert float(changed[0, 14].sum() / 255) == pytest.approx(width, abs=1e-4)
        assert float(changed[0, 14, 13]) == 255  # in the middle it is as dark as before

    def test_goes_both_ways_and_differs_between_images(self, pixels: Tensor) -> None:
        changed = Augmentation(stroke=0.5)(pixels, generator())
        gain = changed.sum((1, 2, 3)) - pixels.sum((1, 2, 3))
        assert (gain > 0).any()
        assert (gain < 0).any()
        assert float(changed.min()) >= 0
        assert float(changed.max()) <= 255

    def test_a_piece_of_a_batch_is_changed_as_in_the_whole(self, pixels: Tensor) -> None:
        augment = Augmentation(stroke=0.7)
        whole = augment(pixels, generator())
        piece = augment(pixels[8:20], Draws(generator(), len(pixels), slice(8, 20)))
        assert torch.equal(piece, whole[8:20])


class TestAspect:
    def test_what_an_image_gains_in_width_it_loses_in_height(self) -> None:
        changed = Augmentation(aspect=0.5)(dots(4_000, 61, 61, 40, 40), generator())
        row, column = (centres(changed) - 30).T
        assert row * column == pytest.approx(100, abs=5)
        factors = column / 10
        assert factors.max() < 1.52
        assert factors.min() > 1 / 1.52
        assert (factors > 1.45).any()
        assert (factors < 1 / 1.3).any()
        assert np.median(factors) == pytest.approx(1, abs=0.03)

    def test_is_along_the_digits_own_axes_however_far_it_is_turned(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dot = dots(1, 61, 61, 40, 30)  # ten pixels below the middle
        force_draws(monkeypatch, rotate=1)
        affine = draws_module.torch.rand
        monkeypatch.setattr(
            draws_module.torch,
            "rand",
            lambda *size, **_: affine(*size) if size[0] == 5 else torch.ones(*size),
        )
        ((row, column),) = centres(Augmentation(rotate=90, aspect=1)(dot, generator())) - 30
        # Twice as wide is half as high: five pixels are left, and then it is turned.
        assert (row, abs(column)) == pytest.approx((0, 5), abs=0.02)


class TestFill:
    def bar(self, count: int = 1) -> Tensor:
        """A bar 20 pixels high and 4 wide, off the middle."""
        images = torch.zeros(count, 1, 28, 28)
        images[..., 3:23, 15:19] = 255
        return images

    def test_a_digit_fills_a_square_in_the_middle(self) -> None:
        filled = Augmentation(fill=1)(self.bar(), generator())[0, 0] > 127
        assert torch.equal(filled.nonzero().amin(dim=0), torch.tensor([4, 4]))
        assert torch.equal(filled.nonzero().amax(dim=0), torch.tensor([23, 23]))
        lying = Augmentation(fill=1)(self.bar().transpose(2, 3), generator())[0, 0] > 127
        assert torch.equal(lying, filled)

    def test_only_its_share_of_the_images(self) -> None:
        changed = Augmentation(fill=0.3)(self.bar(4_000), generator())
        wide = (changed > 127).any(dim=2).sum(dim=(1, 2)) == 20
        assert float(wide.float().mean()) == pytest.approx(0.3, abs=0.03)
        assert torch.allclose(changed[~wide], self.bar(), atol=1e-2)

    def test_an_empty_image_stays_empty(self) -> None:
        assert float(Augmentation(fill=1)(torch.zeros(2, 1, 28, 28), generator()).max()) == 0


class TestGreys:
    def test_the_share_that_is_sharpened_has_few_greys(self, mnist: MNIST) -> None:
        pixels = torch.from_numpy(mnist.train.images[:2_000]).unsqueeze(1).float()
        sharpened = Augmentation(sharpen=0.4)(pixels, generator())
        changed = (sharpened != pixels).flatten(1).any(dim=1)
        assert float(changed.float().mean()) == pytest.approx(0.4, abs=0.04)
        greys = ((pixels > 25) & (pixels < 230)).float().mean(dim=(1, 2, 3))
        left = ((sharpened > 25) & (sharpened < 230)).float().mean(dim=(1, 2, 3))
        assert float(left[changed].mean()) < 0.6 * float(greys[changed].mean())
        assert torch.equal(left[~changed], greys[~changed])

    def test_black_and_white_stay_what_they_are(self) -> None:
        two = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2).repeat(500, 1, 1, 1)
        assert torch.equal(Augmentation(sharpen=1)(two, generator()), two)

    def test_the_limit_between_black_and_white_differs(self) -> None:
        grey = torch.full((2_000, 1, 1, 1), 0.5 * 255)
        sharpened = Augmentation(sharpen=1)(grey, generator())
        assert float((sharpened < 127).float().mean()) == pytest.approx(0.5, abs=0.05)
        assert float((sharpened < 1).float().mean()) > 0.1
        # Whatever the limit, a tenth of full ink is lighter than it, nine tenths darker.
        for ink, low, high in ((0.1, 0, 127), (0.9, 128, 255)):
            changed = Augmentation(sharpen=1)(torch.full_like(grey, ink * 255), generator())
            assert low <= float(changed.min())
            assert float(changed.max()) <= high

    def test_contrast_takes_up_to_its_share_of_the_ink(self, pixels: Tensor) -> None:
        many = pixels[:1].repeat(4_000, 1, 1, 1)
        faint = Augmentation(contrast=0.6)(many, generator())
        share = faint.sum((1, 2, 3)) / many.sum((1, 2, 3))
        assert 0.4 <= float(share.min()) < 0.42
        assert 0.98 < float(share.max()) <= 1
        assert float(share.mean()) == pytest.approx(0.7, abs=0.01)
        assert torch.allclose(faint[0], many[0] * share[0], atol=1e-3)

    def test_noise_is_mostly_weak_and_at_most_as_strong_as_asked(self) -> None:
        grey = torch.full((2_000, 1, 28, 28), 128.0)
        deviation = (Augmentation(noise=20)(grey, generator()) - 128).flatten(1).std(dim=1)
        assert float(deviation.max()) < 21.5
        assert float(deviation.max()) > 18
        assert float(deviation.median()) == pytest.approx(20 / 8, abs=0.4)

    def test_noise_leaves_no_pixel_beyond_black_and_white(self, pixels: Tensor) -> None:
        noisy = Augmentation(noise=200)(pixels, generator())
        assert float(noisy.min()) == 0
        assert float(noisy.max()) == 255

    def test_a_piece_of_a_batch_is_changed_as_the_whole_is(self, pixels: Tensor) -> None:
        augment = Augmentation(aspect=0.3, fill=0.5, sharpen=0.5, contrast=0.5, noise=50)
        whole = augment(pixels, generator())
        piece = augment(pixels[8:20], Draws(generator(), len(pixels), slice(8, 20)))
        assert torch.allclose(piece, whole[8:20], atol=1e-3)
        assert len(augment(pixels[:0], Draws(generator(), len(pixels), slice(3, 3)))) == 0


def test_what_came_later_does_not_change_what_was_drawn_before(pixels: Tensor) -> None:
    # Records depend on it: the sums were taken before aspect and the greys' changes came.
    changed = Augmentation(**vars(EVERYTHING) | {"stroke": 0.5})(pixels, generator())
    sums = [26418.416, 42788.496, 9364.367, 11490.352]
    assert changed.sum((1, 2, 3))[:4].tolist() == pytest.approx(sums, rel=1e-5)


def test_images_that_are_not_square_keep_their_shape() -> None:
    images = torch.rand(4, 1, 20, 33, generator=generator())
    assert EVERYTHING(images, generator()).shape == (4, 1, 20, 33)

"""Networks: their exact size, what they return, how they start."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.batches import Batches
from mnist_lab.datasets import DigitSet
from mnist_lab.models import MODELS, Article000, Article001, build_model, count_parameters

PARAMETERS = {
    "article_000": 1_199_882,
    "article_001": 693_962,
    "article_002": 421_642,
    "linear": 7_850,
    "mlp": 203_530,
    "small_cnn": 29_434,
}
# Every architecture in every form; all but article 000 as printed return raw logits.
RETURNS_LOGITS = [
    *((name, {}) for name in sorted(MODELS) if name != "article_000"),
    ("article_000", {"corrected": True}),
]


def noise(count: int = 8, seed: int = 1_000) -> Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_parameter_counts_are_exact(name: str) -> None:
    assert count_parameters(build_model(name)) == PARAMETERS[name]


def test_the_printed_and_the_corrected_form_have_as_many_parameters() -> None:
    shapes = [
        {
            key: tensor.shape
            for key, tensor in build_model("article_000", **form).state_dict().items()
        }
        for form in ({}, {"corrected": True})
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("count", [1, 5])
def test_maps_images_to_ten_numbers_each(name: str, count: int) -> None:
    model = build_model(name).eval()
    assert model(noise(count)).shape == (count, 10)


@pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn"])
def test_takes_another_number_of_classes(name: str) -> None:
    assert build_model(name, classes=26).eval()(noise(2)).shape == (2, 26)


class TestLogits:
    @pytest.mark.parametrize(("name", "form"), RETURNS_LOGITS)
    def test_are_raw_neither_probabilities_nor_their_logarithms(
        self, name: str, form: dict[str, bool]
    ) -> None:
        logits = build_model(name, **form).eval()(noise(64) * 3).detach()
        sums = logits.sum(1)
        assert not torch.allclose(sums, torch.ones_like(sums), atol=0.05)
        total = logits.exp().sum(1)
        assert not torch.allclose(total, torch.ones_like(total), atol=0.05)

    @pytest.mark.parametrize(("name", "form"), RETURNS_LOGITS)
    def test_have_no_relu_on_them(self, name: str, form: dict[str, bool]) -> None:
        logits = build_model(name, **form).eval()(noise(64) * 3).detach()
        assert float(logits.min()) < -0.01
        assert float(logits.max()) > 0.01
        assert not (logits == 0).any()

    @pytest.mark.parametrize(("name", "form"), RETURNS_LOGITS)
    def test_any_class_can_be_pushed_down_without_bound(
        self, name: str, form: dict[str, bool]
    ) -> None:
        model = build_model(name, **form).eval()
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        with torch.no_grad():
            assert last.bias is not None
            last.bias[3] = -50.0
        assert (model(noise())[:, 3] < -20).all()

    def test_article_000_as_printed_returns_log_probabilities(self) -> None:
        returned = build_model("article_000").eval()(noise())
        assert (returned < 0).all()
        assert torch.allclose(returned.exp().sum(1), torch.ones(8), atol=1e-5)

    def test_first_loss_is_near_ln_10(self) -> None:
        labels = torch.arange(64) % 10
        for name, form in [*RETURNS_LOGITS, ("article_000", {})]:
            loss = F.cross_entropy(build_model(name, **form).eval()(noise(64)), labels)
            assert loss.item() == pytest.approx(math.log(10), abs=0.6), name


class TestArticle000:
    def hooked(self, corrected: bool) -> tuple[Article000, dict[str, Tensor]]:
        model, seen = Article000(corrected), {}
        for name in ("conv2", "dropout1", "dropout2", "fc2"):
            module = getattr(model, name)
            module.register_forward_hook(
                lambda _, inputs, output, name=name: seen.update(
                    {name: output, f"{name} in": inputs[0]}
                )
            )
        return model.train(), seen

    def test_as_printed_uses_one_dropout_and_no_second_relu(self) -> None:
        model, seen = self.hooked(corrected=False)
        model(noise())
        assert "dropout2" not in seen
        pooled = F.max_pool2d(seen["conv2"], 2)
        assert torch.equal(seen["dropout1 in"], pooled)
        assert (pooled < 0).any()  # negative features reach the next layer

    def test_corrected_uses_both_dropouts_and_the_relu(self) -> None:
        model, seen = self.hooked(corrected=True)
        returned = model(noise())
        assert torch.equal(seen["dropout1 in"], F.max_pool2d(seen["conv2"].relu(), 2))
        assert torch.equal(seen["fc2 in"], seen["dropout2"])
        assert torch.equal(returned, seen["fc2"])  # logits
        dropped = (seen["dropout2"] == 0) & (seen["dropout2 in"] != 0)
        assert 0.3 < float(dropped.sum() / (seen["dropout2 in"] != 0).sum()) < 0.7
        # Elementwise: no image loses all it has, as whole channels of a vector would.
        assert not (seen["dropout2"] == 0).all(1).any()

    def test_both_forms_are_equal_where_they_should_be(self) -> None:
        """With the ReLU undone by positive features and dropout off, they differ by log_softmax."""
        printed, corrected = (
            build_model("article_000", corrected=form).eval() for form in (False, True)
        )
        with torch.no_grad():
            for model in (printed, corrected):
                model.conv2.bias += 100.0  # type: ignore[operator, union-attr]
        assert torch.allclose(printed(noise()), corrected(noise()).log_softmax(1), atol=1e-4)


class TestArticle001:
    def test_starts_as_keras_does(self) -> None:
        model = build_model("article_001")
        assert isinstance(model, Article001)
        fans = {"conv": (9, 9 * 32), "hidden": (32 * 13 * 13, 128), "output": (128, 10)}
        for name, (fan_in, fan_out) in fans.items():
            layer = getattr(model, name)
            bound = math.sqrt(6 / (fan_in + fan_out))  # Glorot and Bengio 2010, uniform
            assert layer.weight.abs().max().item() <= bound
            assert layer.weight.abs().max().item() > 0.95 * bound
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert not layer.bias.any()

    def test_applies_pooling_dropout_and_relu_where_keras_lists_them(self) -> None:
        model = build_model("article_001")
        assert isinstance(model, Article001)
        model.eval()
        images = noise()
        pooled = F.max_pool2d(F.conv2d(images, model.conv.weight, model.conv.bias).relu(), 2)
        hidden = (pooled.flatten(1) @ model.hidden.weight.T + model.hidden.bias).relu()
        logits = hidden @ model.output.weight.T + model.output.bias
        assert torch.allclose(model(images), logits, atol=1e-4)
        assert model.dropout.p == 0.5


def test_article_002_is_its_listing() -> None:
    model = build_model("article_002").eval()
    weights = model.state_dict()
    x = noise()
    for layer in ("conv1", "conv2"):
        x = F.conv2d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], padding=1)
        x = F.max_pool2d(x.relu(), 2)
    x = (x.flatten(1) @ weights["fc1.weight"].T + weights["fc1.bias"]).relu()
    logits = x @ weights["fc2.weight"].T + weights["fc2.bias"]
    assert torch.allclose(model(noise()), logits, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("article_000", {}),
        ("article_000", {"corrected": True}),
        ("article_001", {}),
        ("article_002", {}),
        ("small_cnn", {}),
    ],
)
def test_training_mode_differs_from_eval_mode(name: str, form: dict[str, bool]) -> None:
    model = build_model(name, **form)
    assert not torch.allclose(model.train()(noise()), model.eval()(noise()), atol=1e-4)


class TestSoftmax:
    """Article 001's softmax layer, ported as it stands, and article 000's log_softmax."""

    def train(self, digits: DigitSet, output: str, seed: int) -> float:
        """Train a perceptron for two epochs and return its accuracy on the same digits."""
        model = build_model("mlp", hidden=32, seed=seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        apply = {
            "logits": lambda logits: logits,
            "log_softmax": lambda logits: logits.log_softmax(1),
            "softmax": lambda logits: logits.softmax(1),
        }[output]
        batches = Batches(digits, 50, shuffle=True, seed=seed)
        for _ in range(2):
            for images, labels in batches:
                loss = F.cross_entropy(apply(model(images)), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        images, labels = next(iter(Batches(digits, 2_000)))
        return float((model(images).argmax(1) == labels).float().mean())

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_probabilities_in_cross_entropy_are_harmful_and_log_probabilities_are_not(
        self, seed: int, small_sets: tuple[DigitSet, DigitSet]
    ) -> None:
        scores = {
            output: self.train(small_sets[0], output, seed)
            for output in ("logits", "log_softmax", "softmax")
        }
        assert scores["log_softmax"] == pytest.approx(scores["logits"], abs=0.01)
        assert scores["softmax"] < scores["logits"] - 0.1, scores

    def test_cross_entropy_of_probabilities_cannot_come_near_0(self) -> None:
        certain = torch.eye(10)  # every probability right
        floor = F.cross_entropy(certain, torch.arange(10))
        assert float(floor) == pytest.approx(math.log(1 + 9 / math.e), abs=1e-6)
        assert float(F.cross_entropy(certain * 100, torch.arange(10))) < 1e-6

    def test_log_softmax_is_idempotent(self) -> None:
        logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(0)) * 5
        once = logits.log_softmax(1)
        assert torch.allclose(once.log_softmax(1), once, atol=1e-5)
        labels = torch.arange(20) % 10
        assert float(F.cross_entropy(once, labels)) == pytest.approx(
            float(F.cross_entropy(logits, labels)), abs=1e-5
        )


class TestBuildModel:
    @pytest.mark.parametrize("name", sorted(MODELS))
    def test_same_seed_same_weights_other_seed_others(self, name: str) -> None:
        one, again, other = (build_model(name, seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], again[key]) for key in one)
        assert any(not torch.equal(one[key], other[key]) for key in one)

    def test_leaves_the_global_generator_alone(self) -> None:
        state = torch.get_rng_state()
        build_model("mlp", seed=3)
        assert torch.equal(torch.get_rng_state(), state)

    def test_an_unknown_name_says_which_there_are(self) -> None:
        with pytest.raises(ValueError, match=r"No model 'lenet'; there are .*linear.*small_cnn\."):
            build_model("lenet")

    @pytest.mark.parametrize("wrong", [{"depth": 3}, {"width": "wide"}, {"width": -1}])
    def test_a_wrong_argument_is_named(self, wrong: dict[str, object]) -> None:
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^small_cnn cannot be built with .*'{name}'.*\.$"):
            build_model("small_cnn", **wrong)

    def test_every_model_of_the_table_is_counted_here(self) -> None:
        assert set(PARAMETERS) == set(MODELS)

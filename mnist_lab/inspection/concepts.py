"""What it knows without being told: concepts as directions among its features, and a dictionary.

    has = label_concepts(images)                            # loop, slant, thick pen: bool (n,)
    probe = fit_concept(features, has["loop"])              # features float (n, width)
    probe.score(features) > 0                               # whether the probe sees a loop
    network.model.output.weight @ probe.direction           # what a step that way does to logits

    dictionary = train_dictionary(features, units=256, active=8, seed=0)
    codes = dictionary.encode(features)                     # (n, units), at most 8 above 0 a row
    unit_aurocs(codes, has["loop"]).max()                   # of the unit that best tells it

Sources: Kim, Wattenberg, Gilmer, Cai, Wexler, Viegas and Sayres 2018, "Interpretability Beyond
Feature Attribution: Quantitative Testing with Concept Activation Vectors (TCAV)"; Makhzani and Frey
2013, "k-Sparse Autoencoders"; Gao et al. 2024, "Scaling and evaluating sparse autoencoders".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import rankdata
from torch import Tensor, nn

from mnist_lab.finetuning.probes import train_probe
from mnist_lab.inspection.mistakes import measure_digits
from mnist_lab.models.seeding import drawn_from, seeded_generator

LEANING = 0.12  # share of the height: about the median slant of MNIST's digits
THICK = 2.4  # pixels: about the median width of a stroke in MNIST
_PAPER = 128  # grey values: what is darker is ink
_DICTIONARY = 4_201  # stream of random numbers


# --- Concepts that can be measured in the picture ------------------------------------------------


def count_loops(images: NDArray[np.uint8], least: int = 2) -> NDArray[np.int64]:
    """Count the pieces of paper that ink encloses.

    Parameters
    ----------
    images : uint8 (n, height, width)
        0 is paper, 255 is full ink.
    least : int
        Pixels: smaller holes do not count.

    Returns
    -------
    int64 (n,)
        Ink hangs together across corners, and so paper does not: 0 for a 1, 2 for most an 8.
    """
    paper = np.pad(np.asarray(images) < _PAPER, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    counts = []
    for image in paper:
        pieces, _ = ndimage.label(image)
        sizes = np.bincount(pieces.ravel())[1:]  # of every piece of paper
        sizes[pieces[0, 0] - 1] = 0  # the one outside
        counts.append(int((sizes >= least).sum()))
    return np.array(counts, np.int64)


def pen_width(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean width of the strokes in pixels, float64 (n,); 0 for an empty image.

    A stroke of length L and width w has an area of L w, and an edge of about 2 L: so the width is
    twice the ink over the total variation of the picture (the sum of its slopes).
    """
    ink = np.pad(np.asarray(images) / 255, ((0, 0), (1, 1), (1, 1)))
    down, right = np.diff(ink, axis=1)[:, :, :-1], np.diff(ink, axis=2)[:, :-1]
    edge = np.hypot(down, right).sum((1, 2))
    width: NDArray[np.float64] = 2 * ink.sum((1, 2)) / np.maximum(edge, 1e-9)
    return width


def label_concepts(images: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """Say of each image whether it has a loop, leans to the right, was written with a thick pen.

    Parameters
    ----------
    images : uint8 (n, height, width)

    Returns
    -------
    dict of bool (n,)
        "loop", "slant", "thick pen". For the last two the limits are `LEANING` and `THICK`.
    """
    return {
        "loop": count_loops(images) > 0,
        "slant": measure_digits(images)["slant"] > LEANING,
        "thick pen": pen_width(images) > THICK,
    }


def guess_by_class(
    has: ArrayLike, labels: ArrayLike, others: ArrayLike, classes: int = 10
) -> NDArray[np.bool_]:
    """Guess a concept from the class alone: for each digit what most of its class have.

    A concept that goes with the class can be read off whatever knows the class.

    Parameters
    ----------
    has, labels : bool and int (n,)
        To learn from.
    others : int (m,)
        The classes of those to guess for.

    Returns
    -------
    bool (m,)
    """
    known, kinds = np.asarray(has, bool), np.asarray(labels)
    shares = np.array(
        [known[kinds == k].mean() if (kinds == k).any() else 0 for k in range(classes)]
    )
    return shares[np.asarray(others)] > 0.5


# --- A direction for a concept -------------------------------------------------------------------


@dataclass(frozen=True)
class ConceptProbe:
    """A plane among the features: on its one side a concept is, on the other it is not.

    Attributes
    ----------
    direction : Tensor (width,)
        Of length 1, in the features' own units.
    offset : float
    """

    direction: Tensor
    offset: float

    def score(self, features: Tensor) -> Tensor:
        """Return how far on the concept's side features (n, width) lie: (n,), above 0 with it."""
        return features @ self.direction + self.offset


def fit_concept(features: Tensor, has: ArrayLike, steps: int = 100) -> ConceptProbe:
    """Fit the plane by logistic regression on features in units of their spread.

    Parameters
    ----------
    features : Tensor (n, width)
    has : bool (n,)
        Whether each has the concept.
    steps : int

    Raises
    ------
    ValueError
        If all have it or none has.
    """
    labels = torch.from_numpy(np.asarray(has, bool)).long().to(features.device)
    if not 0 < int(labels.sum()) < len(labels):
        raise ValueError("A concept that all have, or none has, has no direction.")
    middle, spread = features.mean(0), features.std(0) + 0.1
    layer = train_probe((features - middle) / spread, labels, classes=2, steps=steps)
    weight = (layer.weight[1] - layer.weight[0]).detach() / spread
    bias = (layer.bias[1] - layer.bias[0]).detach() - weight @ middle
    length = weight.norm()
    return ConceptProbe(weight / length, float(bias / length))


# --- A dictionary of sparse units ----------------------------------------------------------------


class Dictionary(nn.Module):
    """A sparse autoencoder: features as a sum of few out of many units (top-k).

    Parameters
    ----------
    width : int
        Of the features.
    units : int
    active : int
        How many units at most an example may use; from 1 to `units`.
    """

    def __init__(self, width: int, units: int, active: int) -> None:
        super().__init__()
        if not 1 <= active <= units:
            raise ValueError(f"active must be from 1 to {units}, the units, found {active}.")
        self.active = active
        self.middle = nn.Parameter(torch.zeros(width))
        self.encoder = nn.Linear(width, units)
        self.words = nn.Parameter(torch.zeros(units, width))
        with torch.no_grad():  # what a unit looks for is what it says, to begin with
            self.encoder.weight.copy_(F.normalize(self.encoder.weight))
            self.encoder.bias.zero_()
            self.words.copy_(self.encoder.weight)

    def encode(self, features: Tensor) -> Tensor:
        """Return how much of each unit there is, (n, units): at most `active` are above 0."""
        found = self.encoder(features - self.middle)
        largest = found.topk(self.active, dim=1)
        return torch.zeros_like(found).scatter(1, largest.indices, largest.values.relu())

    def forward(self, features: Tensor) -> Tensor:
        """Return features (n, width) as the units give them back."""
        return self.encode(features) @ self.words + self.middle


def train_dictionary(
    features: Tensor, units: int = 256, active: int = 8, *, steps: int = 400, seed: int = 0
) -> Dictionary:
    """Train a dictionary by the squared error of what it gives back.

    Parameters
    ----------
    features : Tensor (n, width)
    units, active : int
        As for `Dictionary`.
    steps : int
        Each of 256 examples, by Adam at 0.001; the words are brought back to length 1 after each.
    seed : int
        For the first weights and the order of the examples.

    Returns
    -------
    Dictionary
        In eval mode; its parameters learn no more.
    """
    numbers = seeded_generator(torch.device("cpu"), seed, _DICTIONARY)
    with drawn_from(numbers.initial_seed()):
        dictionary = Dictionary(features.shape[1], units, active).to(features.device)
    with torch.no_grad():
        dictionary.middle.copy_(features.mean(0))
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=0.001)
    for _ in range(steps):
        chosen = torch.randint(len(features), (256,), generator=numbers).to(features.device)
        loss = F.mse_loss(dictionary(features[chosen]), features[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            dictionary.words.copy_(F.normalize(dictionary.words))
    return dictionary.eval().requires_grad_(False)


def share_explained(features: Tensor, given_back: Tensor) -> float:
    """Return which share of the variance of features (n, width) is given back; 1 is all of it."""
    left = (features - given_back).square().sum()
    return 1 - float(left / (features - features.mean(0)).square().sum())


def unit_aurocs(codes: Tensor, has: ArrayLike) -> NDArray[np.float64]:
    """Return for each unit how well it tells those with a concept from those without.

    Parameters
    ----------
    codes : Tensor (n, units)
    has : bool (n,)

    Returns
    -------
    float64 (units,)
        The chance that one with the concept has more of the unit than one without, of equal ones
        half: 0.5 tells nothing, 1 everything, 0 everything the other way round.
    """
    known = np.asarray(has, bool)
    ranks = rankdata(codes.numpy(force=True), axis=0)
    with_it, without = int(known.sum()), int((~known).sum())
    above: NDArray[np.float64] = ranks[known].sum(0) - with_it * (with_it + 1) / 2
    return above / (with_it * without)

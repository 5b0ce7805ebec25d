"""Small changes made on purpose: pixels changed within a bound until a network misreads a digit.

    changed = fgsm(network, pixels, labels, epsilon=0.1)                    # one step
    changed = pgd(network, pixels, labels, epsilon=0.1, restarts=5)         # many small ones
    changed = square_attack(network, pixels, labels, epsilon=0.1)           # without a gradient
    read_right(network, changed, labels).float().mean()                     # what accuracy is left

All take a network of pixels (a `PixelNetwork`), pixels float (n, 1, height, width) and the labels,
int64 (n,). The one unit is that of the pixels: 0 is paper, 1 is ink, so that an epsilon of 0.1 is
25.5 grey levels. What comes back lies in the ball of radius epsilon round the digit and between 0
and 1. A digit that is misread already stays as it is; of one that no attempt gets misread, the last
attempt comes back.

That an attack fails says nothing of a network whose gradient is 0: `share_without_gradient` tells
how many digits have none, and `square_attack` asks for none.

Sources: Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing Adversarial Examples"
(FGSM); Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks" (PGD with
random starts); Andriushchenko et al. 2020, "Square Attack"; Carlini and Wagner 2017, "Towards
Evaluating the Robustness of Neural Networks" (the margin as a loss); Athalye, Carlini and Wagner
2018, "Obfuscated Gradients Give a False Sense of Security" (masked gradients).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# From logits (n, classes) and labels (n,) to a number for each digit, which an attack raises.
Loss = Callable[[Tensor, Tensor], Tensor]

NORMS = ("linf", "l2")
"""How a change is measured: by its largest pixel, or by the root of the sum of all squared."""

_SHARE = 0.8  # of the pixels: a first square; what the paper takes for MNIST
# After which of 10,000 queries the area of a square is halved, as in the paper.
_HALVED_AFTER = (10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000)
_QUERIES = 10_000


# --- What an attack raises, and what is left -----------------------------------------------------


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of training, in nats, of each digit: (n,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the highest other logit lies above the label's: (n,), above 0 if misread.

    Unlike the cross-entropy it does not flatten where a network is sure.
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -math.inf)
    return others.max(1).values - own


def read_right(network: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    """Return which digits are read as their label: bool (n,)."""
    with torch.no_grad():
        right: Tensor = network(pixels).argmax(1) == labels
    return right


def _gradient(network: nn.Module, pixels: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Return the gradient of each digit's loss by its own pixels, in the shape of the pixels."""
    inputs = pixels.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(network(inputs), labels).sum(), inputs)
    return gradient


def share_without_gradient(
    network: nn.Module, pixels: Tensor, labels: Tensor, loss: Loss = cross_entropy
) -> float:
    """Return the share of the digits read rightly whose loss has a gradient of exactly 0.

    There an attack by this gradient stands still, whatever the network can take: the gradient is
    masked. nan where no digit is read rightly.
    """
    right = read_right(network, pixels, labels)
    gradient = _gradient(network, pixels[right], labels[right], loss)
    return (gradient.flatten(1) == 0).all(1).float().mean().item()


def _check(pixels: Tensor, epsilon: float, norm: str = "linf") -> None:
    """Refuse what would be no attack in pixels, or in no ball."""
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"epsilon must be 0 or more and finite, found {epsilon}.")
    if norm not in NORMS:
        raise ValueError(f"There is no norm {norm!r}; there are {' and '.join(NORMS)}.")
    if pixels.numel() and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"An attack takes pixels from 0 to 1, found {pixels.min():.3g} to {pixels.max():.3g}: "
            "give it images as they are, and let a PixelNetwork normalise them."
        )


# --- With the gradient ---------------------------------------------------------------------------


def fgsm(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Change every pixel by epsilon towards the higher loss, in one step: the fast gradient sign.

    Parameters
    ----------
    epsilon : float
        In pixels from 0 to 1.
    loss : callable
        `cross_entropy` or `margin_loss`.

    Raises
    ------
    ValueError
        If pixels are not from 0 to 1, as normalised ones are not, or `epsilon` is below 0.
    """
    _check(pixels, epsilon)
    step = epsilon * _gradient(network, pixels, labels, loss).sign()
    changed = (pixels + step).clamp(0, 1)
    right = read_right(network, pixels, labels)
    return torch.where(right[:, None, None, None], changed, pixels)


def _length(change: Tensor) -> Tensor:
    """Return the Euclidean length of each image, (n, 1, 1, 1)."""
    return change.flatten(1).norm(dim=1)[:, None, None, None]


def _steepest(gradient: Tensor, norm: str) -> Tensor:
    """Return the change of length 1 that raises the loss most, to first order."""
    if norm == "linf":
        return gradient.sign()
    return gradient / _length(gradient).clamp(min=1e-12)


def _into_ball(change: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return the nearest change that is not longer than epsilon."""
    if norm == "linf":
        return change.clamp(-epsilon, epsilon)
    return change * (epsilon / _length(change).clamp(min=1e-12)).clamp(max=1)


def _draw_change(pixels: Tensor, epsilon: float, norm: str, generator: torch.Generator) -> Tensor:
    """Draw a change for each image, evenly from the ball: in the shape of the pixels."""
    if norm == "linf":
        return epsilon * (2 * torch.rand(pixels.shape, generator=generator) - 1).to(pixels.device)
    direction = torch.randn(pixels.shape, generator=generator)
    radius = torch.rand(len(pixels), 1, 1, 1, generator=generator) ** (1 / pixels.shape[1:].numel())
    return (epsilon * radius * _steepest(direction, norm)).to(pixels.device)


def climb(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    start: Tensor,
    *,
    norm: str = "linf",
    steps: int = 40,
    rate: float | None = None,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Take steps up the loss from a start, and after each go back into the ball: one run of PGD.

    Parameters
    ----------
    start : Tensor
        Changed pixels from which it begins, in the shape of the pixels.
    steps, rate, norm, loss
        As `pgd` takes them.

    Returns
    -------
    Tensor
        All digits where their last step has brought them, whether misread or not.
    """
    rate = 2.5 * epsilon / steps if rate is None else rate
    changed = start.clamp(0, 1)
    for _ in range(steps):
        step = rate * _steepest(_gradient(network, changed, labels, loss), norm)
        change = _into_ball(changed + step - pixels, epsilon, norm)
        changed = (pixels + change).clamp(0, 1)
    return changed


def pgd(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    norm: str = "linf",
    steps: int = 40,
    rate: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    loss: Loss = cross_entropy,
    seed: int = 0,
) -> Tensor:
    """Climb the loss in small steps within the ball, from several starts: projected gradient.

    With the same seed more restarts never get fewer digits misread: what one has found is kept, and
    the next is tried on what is left.

    Parameters
    ----------
    epsilon : float
        Radius of the ball, in pixels from 0 to 1.
    norm : str
        One of `NORMS`.
    steps : int
        Of each run.
    rate : float, optional
        Length of a step in the norm, in pixels; 2.5 epsilon / steps if not given: from anywhere in
        the ball one can get anywhere, as Madry et al. have it.
    restarts : int
        Runs, each on the digits that are still read rightly.
    random_start : bool
        Whether a run begins at a random place of the ball, or at the digit.
    loss : callable
        `cross_entropy` or `margin_loss`.
    seed : int
        For the starts.

    Raises
    ------
    ValueError
        If pixels are not from 0 to 1, as normalised ones are not, `epsilon` is below 0, there is no
        such norm, or more than one run would begin at the digit.
    """
    _check(pixels, epsilon, norm)
    if not random_start and restarts > 1:
        raise ValueError(
            "From the digit itself every run is the same: restarts=1, or random_start."
        )
    changed, left = pixels.clone(), read_right(network, pixels, labels)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(restarts):
        # Drawn for all digits, so that a start does not depend on how many are left.
        start = pixels + _draw_change(pixels, epsilon, norm, generator) if random_start else pixels
        some = left.nonzero()[:, 0]
        found = climb(
            network, pixels[some], labels[some], epsilon, start[some],
            norm=norm, steps=steps, rate=rate, loss=loss,
        )  # fmt: skip
        changed[some] = found
        left[some] = read_right(network, found, labels[some])
    return changed


# --- Without it ----------------------------------------------------------------------------------


def _side(query: int, queries: int, height: int, width: int) -> int:
    """Return the side of the squares of a query: large at first, halved in area on the way."""
    halvings = sum(query / queries * _QUERIES > after for after in _HALVED_AFTER)
    side = round(math.sqrt(_SHARE / 2**halvings * height * width))
    return min(max(side, 1), min(height, width) - 1)


def square_attack(
    network: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    queries: int = 500,
    seed: int = 0,
) -> Tensor:
    """Change squares at random places by epsilon up or down, and keep what raises the margin.

    It asks for logits alone, and for no gradient: a black-box attack. It begins with stripes from
    top to bottom, and its squares shrink.

    Parameters
    ----------
    epsilon : float
        In pixels from 0 to 1; by so much each pixel may change.
    queries : int
        How often the network is asked about a digit, at most.
    seed : int
        For places and signs.

    Raises
    ------
    ValueError
        If pixels are not from 0 to 1, as normalised ones are not, or `epsilon` is below 0.
    """
    _check(pixels, epsilon)
    generator = torch.Generator().manual_seed(seed)
    count, _, height, width = pixels.shape

    def draw_signs(*shape: int) -> Tensor:
        signs = torch.randint(0, 2, shape, generator=generator) * 2 - 1
        return (epsilon * signs).to(pixels)

    def how_misread(changed: Tensor, some: Tensor) -> Tensor:
        with torch.no_grad():
            return margin_loss(network(changed), labels[some])

    right = read_right(network, pixels, labels)
    stripes = draw_signs(count, 1, 1, width)
    changed = torch.where(right[:, None, None, None], (pixels + stripes).clamp(0, 1), pixels)
    best = how_misread(changed, torch.arange(count, device=pixels.device))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for query in range(queries - 1):
        side = _side(query, queries, height, width)
        top = torch.randint(0, height - side + 1, (count, 1, 1, 1), generator=generator)
        left = torch.randint(0, width - side + 1, (count, 1, 1, 1), generator=generator)
        square = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        signs = draw_signs(count, 1, 1, 1)
        some = (best <= 0).nonzero()[:, 0]  # those that are still read rightly
        tried = torch.where(square.to(pixels.device), pixels + signs, changed).clamp(0, 1)[some]
        found = how_misread(tried, some)
        better = found > best[some]
        changed[some[better]], best[some[better]] = tried[better], found[better]
    return changed

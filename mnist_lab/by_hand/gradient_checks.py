"""Is a gradient right? Compare it with central differences of the function (chapters 2 to 4).

    for name, report in check_layer(Linear(3, 2, generator), inputs, generator).items():
        print(name, report)

A report says "right" and how near, or which entry is wrong and what it should be.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from mnist_lab.by_hand.layers import Floats, Layer, as_floats


@dataclass(frozen=True)
class GradientReport:
    """What a gradient check found, at the entry where the two sides differ most.

    Attributes
    ----------
    error : float
        Relative error there; below 1e-6 if the gradient is right, as a rule.
    index : tuple of int
        Which entry it is.
    by_formula, by_difference : float
        The two values of that entry.
    """

    error: float
    index: tuple[int, ...]
    by_formula: float
    by_difference: float

    @property
    def bound(self) -> float:
        """The first of 1e-8, 1e-6, 1e-4 ... above the error, as errors below 1e-8 are rounding.

        Rounding differs between processors; this is the same on all.
        """
        return 100.0 ** math.ceil(math.log(max(self.error, 1e-9), 100) - 1e-9)

    @property
    def passed(self) -> bool:
        """Whether the relative error is below 1e-6."""
        return self.error < 1e-6

    def __str__(self) -> str:
        """Say it in a line."""
        if self.passed:
            return f"right, worst error below {self.bound:.0e}"
        return (
            f"WRONG at {list(self.index)}: {self.by_formula:.4g} by formula, "
            f"{self.by_difference:.4g} by difference"
        )


def central_difference(
    function: Callable[[Floats], float], at: ArrayLike, step: float = 1e-5
) -> Floats:
    """Return the gradient of a function at a point, estimated entry by entry.

    Each entry is moved up and down by `step`: (f(x + h) - f(x - h)) / 2h. The error falls with h^2,
    until the rounding of float64 takes over below about 1e-6.

    Parameters
    ----------
    function : takes an array of the shape of `at`, returns a number
    at : array of any shape
    """
    point = as_floats(at).copy()
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        value = point[index]
        point[index] = value + step
        above = function(point.copy())  # a function that writes into what it is given does no harm
        point[index] = value - step
        below = function(point.copy())
        point[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


def gradient_check(
    function: Callable[[Floats], float], gradient: ArrayLike, at: ArrayLike, step: float = 1e-5
) -> GradientReport:
    """Compare a gradient with central differences and report the worst entry.

    The relative error of an entry is the difference of the two sides divided by the larger of them.
    Rounding makes it meaningless for entries that are tiny beside the others, so nothing is divided
    by less than a hundredth of the largest entry or of the function's own value.

    Parameters
    ----------
    function : takes an array of the shape of `at`, returns a number
    gradient : array of the shape of `at`
        What your formula says.
    at : array
        The point; keep away from kinks, such as the 0 of a ReLU, by more than `step`.

    Raises
    ------
    ValueError
        If gradient and point differ in shape.
    """
    at, gradient = as_floats(at), as_floats(gradient)
    if gradient.shape != at.shape:
        raise ValueError(
            f"The gradient has shape {gradient.shape}, the point has {at.shape}; they must agree."
        )
    estimated = central_difference(function, at, step)
    larger = np.maximum(np.abs(gradient), np.abs(estimated))
    largest = larger.max(initial=0, where=np.isfinite(larger))
    floor = 1e-2 * max(largest, abs(function(at.copy())), 1e-12)
    with np.errstate(invalid="ignore"):
        errors = np.abs(gradient - estimated) / np.maximum(larger, floor)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    return GradientReport(
        float(errors[index]), index, float(gradient[index]), float(estimated[index])
    )


def check_layer(
    layer: Layer, inputs: ArrayLike, generator: np.random.Generator
) -> dict[str, GradientReport]:
    """Check the gradients of a layer for its inputs and for each of its parameters.

    The layer's outputs are weighted with random numbers and added up, which makes one number of
    them, as a loss would. Each evaluation works on a copy of the layer: dropout draws the same
    numbers again, and batch normalisation does not move its running averages.

    Returns
    -------
    dict from "inputs" and the names of the parameters to reports

    Raises
    ------
    ValueError
        If `backward` fills in no gradient for a parameter, or one of another shape.
    """
    inputs = as_floats(inputs)
    layer = copy.deepcopy(layer)  # its generator may be the very one that we draw from
    used = copy.deepcopy(layer)
    outputs = used.forward(inputs.copy())
    weights = generator.normal(size=outputs.shape)
    gradients = {"inputs": used.backward(weights.copy()), **used.gradients}

    def value(name: str, array: Floats) -> float:
        fresh = copy.deepcopy(layer)
        if name == "inputs":
            return float((fresh.forward(array) * weights).sum())
        fresh.parameters[name][...] = array
        return float((fresh.forward(inputs.copy()) * weights).sum())

    points = {"inputs": inputs, **layer.parameters}
    for name in points:
        if name not in gradients:
            raise ValueError(f"{type(layer).__name__}.backward left no gradient for {name!r}.")
    return {
        name: gradient_check(partial(value, name), gradients[name], point)
        for name, point in points.items()
    }

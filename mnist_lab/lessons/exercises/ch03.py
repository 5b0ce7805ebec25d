"""The exercises of chapter 3: gradients of layers and losses, optimisers, and six suspects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_lab.by_hand.gradient_checks import central_difference
from mnist_lab.by_hand.layers import BatchNorm, Dropout, Floats, Layer, Linear, ReLU, Softmax, Tanh
from mnist_lab.by_hand.losses import MeanSquaredError
from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- The suspects --------------------------------------------------------------------------------


class _LayerA(ReLU):
    def forward(self, inputs: ArrayLike) -> Floats:
        self._memory = super().forward(inputs)
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        return np.asarray(gradient) * (self._remembered() >= 0)


class _LayerB(Dropout):
    def backward(self, gradient: ArrayLike) -> Floats:
        return np.asarray(gradient) * (self._remembered() > 0)


class _LayerD(Linear):
    def backward(self, gradient: ArrayLike) -> Floats:
        back = super().backward(gradient)
        self.gradients["bias"] = np.asarray(gradient).mean(axis=0)
        return back


class _LayerF(Softmax):
    def backward(self, gradient: ArrayLike) -> Floats:
        outputs = self._remembered()
        return np.asarray(gradient) * outputs * (1 - outputs)


_FEATURES = 4

SUSPECTS: dict[str, Callable[[np.random.Generator], Layer]] = {
    "A": lambda generator: _LayerA(),
    "B": lambda generator: _LayerB(0.3, generator),
    "C": lambda generator: Tanh(),
    "D": lambda generator: _LayerD(_FEATURES, 3, generator),
    "E": lambda generator: Linear(_FEATURES, 3, generator),
    "F": lambda generator: _LayerF(),
}
"""Six layers by name, each as a function that makes a fresh one. Some gradients are wrong."""

SUSPECT_TITLES = {
    "A": "A: ReLU",
    "B": "B: dropout, rate 0.3",
    "C": "C: tanh",
    "D": "D: linear, 4 to 3",
    "E": "E: linear, 4 to 3",
    "F": "F: softmax",
}
"""What each of the six says that it is."""


def suspect_inputs(name: str, generator: np.random.Generator) -> Floats:
    """Return a batch (5, 4) for one of the suspects, with no entry near the kink of a ReLU.

    Raises
    ------
    ValueError
        If there is no suspect of that name.
    """
    if name not in SUSPECTS:
        raise ValueError(f"There is no suspect {name!r}; they are {', '.join(SUSPECTS)}.")
    inputs = generator.normal(size=(5, _FEATURES))
    return inputs + 0.1 * np.sign(inputs)


# --- Cases ---------------------------------------------------------------------------------------


def _activations(generator: np.random.Generator) -> list[Case]:
    shapes = [(4, 3), (3, 3), (7,), (2, 3, 4, 5)]
    return [(generator.normal(size=shape), generator.normal(size=shape)) for shape in shapes]


def _relu_cases(generator: np.random.Generator) -> list[Case]:
    gradient = generator.normal(size=(3, 4))
    mixed = np.array([[0.0, -1.0, 2.0, 0.0], [3.0, -0.0, -4.0, 0.5], [0.0, 0.0, 1.0, -2.0]])
    return [*_activations(generator), (gradient, mixed), (gradient, -np.ones((3, 4)))]


def _sigmoid_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = [(g, 1 / (1 + np.exp(-x))) for g, x in _activations(generator)]
    return [*cases, (generator.normal(size=5), np.array([0.0, 1.0, 0.5, 0.25, 0.9]))]


def _tanh_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = [(g, np.tanh(x)) for g, x in _activations(generator)]
    return [*cases, (generator.normal(size=5), np.array([0.0, 1.0, -1.0, 0.5, -0.9]))]


def _linear_cases(generator: np.random.Generator) -> list[Case]:
    # n, in, out: all different; all the same; a square weight; as many outputs as examples
    sizes = [(5, 3, 2), (3, 3, 3), (2, 4, 4), (3, 2, 3)]
    return [
        (
            generator.normal(size=(n, outputs)),
            generator.normal(size=(n, inputs)),
            generator.normal(size=(outputs, inputs)),
        )
        for n, inputs, outputs in sizes
    ]


def _dropout_cases(generator: np.random.Generator) -> list[Case]:
    cases: list[Case] = []
    for shape, rate in (((4, 5), 0.5), ((3, 6), 0.2), ((2, 3, 4, 4), 0.75), ((6,), 0.3)):
        gradient, kept = generator.normal(size=shape), generator.random(shape) >= rate
        kept.flat[:2] = True, False  # both occur
        cases.append((gradient, kept, rate))
    return [*cases, (generator.normal(size=(2, 3)), np.ones((2, 3), dtype=bool), 0.0)]


def _cubes(x: Array) -> float:
    return float((x**3).sum() + x.sum() ** 2)


def _mixed(x: Array) -> float:
    return float(np.exp(x).sum() * np.cos(x.flat[0]) + x.prod())


def _difference_cases(generator: np.random.Generator) -> list[Case]:
    return [
        (_cubes, generator.normal(size=4), 0.1),
        (_mixed, generator.normal(size=3), 0.01),
        (_cubes, generator.normal(size=(2, 3)), 0.05),
        (_mixed, generator.normal(size=(3, 2)), 0.1),
    ]


def _momentum_cases(generator: np.random.Generator) -> list[Case]:
    return [
        (*generator.normal(size=(3, *shape)), learning_rate, momentum)
        for shape, learning_rate, momentum in (
            ((4,), 0.1, 0.9),
            ((2, 3), 0.5, 0.5),
            ((3, 2), 2.0, 0.8),
            ((5,), 0.01, 0.0),
        )
    ]


def _adam_cases(generator: np.random.Generator) -> list[Case]:
    def case(shape: tuple[int, ...], step: int, betas: tuple[float, float], epsilon: float) -> Case:
        parameter, gradient, mean = generator.normal(size=(3, *shape))
        square = generator.random(shape)
        if step == 1:
            mean, square = np.zeros(shape), np.zeros(shape)
        return parameter, gradient, mean, square, step, 0.1, betas, epsilon

    idle = case((2, 3), 1, (0.9, 0.999), 1e-8)
    idle[1][0, 1] = 0.0  # a gradient that has always been zero
    return [
        idle,
        case((4,), 3, (0.9, 0.999), 1e-8),
        case((3, 2), 10, (0.8, 0.95), 0.1),
        case((2,), 1, (0.5, 0.9), 0.01),
    ]


def _batch_norm_cases(generator: np.random.Generator) -> list[Case]:
    return [
        (
            generator.normal(size=(n, features)),
            3 + 2 * generator.normal(size=(n, features)),
            generator.normal(1, 0.5, features),
            epsilon,
        )
        for n, features, epsilon in ((4, 3, 1e-5), (6, 2, 1e-5), (3, 3, 0.1), (2, 5, 0.5))
    ]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _relu_backward(gradient: Array, inputs: Array) -> Floats:
    layer = ReLU()
    layer.forward(inputs)
    return layer.backward(gradient)


def _sigmoid(x: Array) -> Floats:
    return 1 / (1 + np.exp(-x))


def _mse_gradient(predictions: Array, targets: Array) -> Floats:
    loss = MeanSquaredError()
    loss.forward(predictions, targets)
    return loss.backward()


def _linear_backward(
    gradient: Array, inputs: Array, weight: Array
) -> tuple[Floats, Floats, Floats]:
    layer = Linear(weight.shape[1], weight.shape[0], np.random.default_rng(0))
    layer.parameters["weight"] = weight
    layer.forward(inputs)
    inputs_gradient = layer.backward(gradient)
    return inputs_gradient, layer.gradients["weight"], layer.gradients["bias"]


def _one_sided(function: Callable[[Array], float], at: Array, step: float) -> Floats:
    gradient = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = at.copy()
        moved[index] += step
        gradient[index] = (function(moved) - function(at)) / step
    return gradient


def _never_back(
    function: Callable[[Array], float], at: Array, step: float, first: int, left_at: int
) -> Floats:
    """Move each entry both ways, `first` first, and leave it `left_at` steps from its place."""
    gradient = np.empty_like(at)
    point = at.copy()
    for index in np.ndindex(at.shape):
        value = point[index]
        point[index] = value + first * step
        one = function(point)
        point[index] = value - first * step
        other = function(point)
        point[index] = value + left_at * step
        gradient[index] = first * (one - other) / (2 * step)
    return gradient


def _momentum_step(
    parameter: Array, gradient: Array, velocity: Array, learning_rate: float, momentum: float
) -> tuple[Array, Array]:
    velocity = momentum * velocity + gradient
    return parameter - learning_rate * velocity, velocity


def _adam_step(
    parameter: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
) -> tuple[Array, Array, Array]:
    return _adam(parameter, gradient, mean, square, step, learning_rate, betas, epsilon)


def _adam(
    parameter: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    *,
    corrected: bool = True,
    returns_corrected: bool = False,
    inside_root: bool = False,
    squares_mean: bool = False,
    rooted: bool = True,
    raw_gradient: bool = False,
    correction_of_root: bool = False,
    epsilon_first: bool = False,
) -> tuple[Array, Array, Array]:
    """Make a step of Adam, right unless an option says otherwise."""
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * (mean if squares_mean else gradient) ** 2
    of_mean, of_square = ((1 - beta**step) if corrected else 1.0 for beta in betas)
    along, size = (gradient if raw_gradient else mean / of_mean), square / of_square
    if correction_of_root:
        size = np.sqrt(square) / of_square + epsilon
    elif epsilon_first:
        size = (np.sqrt(square) + epsilon) / np.sqrt(of_square)
    elif inside_root:
        size = np.sqrt(size + epsilon)
    elif rooted:
        size = np.sqrt(size) + epsilon
    else:
        size = size + epsilon
    parameter = parameter - learning_rate * along / size
    return (
        (parameter, along, square / of_square) if returns_corrected else (parameter, mean, square)
    )


def _adam_at(shift: int, *arguments: Any) -> tuple[Array, Array, Array]:
    before, step, after = arguments[:4], arguments[4], arguments[5:]
    moved: tuple[Any, ...] = (*before, step + shift, *after)
    return _adam(*moved)


def _batch_norm_backward(gradient: Array, inputs: Array, weight: Array, epsilon: float) -> Floats:
    layer = BatchNorm(inputs.shape[1], epsilon=epsilon)
    layer.parameters["weight"] = weight
    layer.forward(inputs)
    return layer.backward(gradient)


def _through_norm(
    gradient: Array,
    inputs: Array,
    weight: Array,
    epsilon: float,
    *,
    through_mean: bool = True,
    through_deviation: bool = True,
    unbiased: bool = False,
    summed: bool = False,
    weighs_all: bool = True,
    epsilon_outside: bool = False,
) -> Floats:
    """Go back through batch normalisation, with something left out."""
    variance = inputs.var(axis=0, ddof=int(unbiased))
    deviation = np.sqrt(variance) + epsilon if epsilon_outside else np.sqrt(variance + epsilon)
    normalised = (inputs - inputs.mean(axis=0)) / deviation
    result = gradient * weight
    indirect = result if weighs_all else gradient
    over_batch = np.sum if summed else np.mean
    if through_mean:
        result = result - over_batch(indirect, axis=0)
    if through_deviation:
        result = result - normalised * over_batch(indirect * normalised, axis=0)
    return result / deviation


_DERIVATIVE_ALONE = (
    "You return the layer's derivative alone. The chain rule multiplies it by the gradient that "
    "comes from above."
)

EXERCISES = (
    Exercise(
        "ch03",
        "relu_backward",
        _relu_backward,
        cases=_relu_cases,
        mistakes=(
            usual(
                "Your mask lets everything pass, as it does if you take it from the outputs with "
                ">=: they are never negative. Look at the inputs, and ask for more than 0.",
                lambda gradient, inputs: gradient * (np.maximum(inputs, 0) >= 0),
            ),
            usual(
                "Your mask is right but for inputs of exactly 0. There we take 0 for the "
                "derivative, as PyTorch does.",
                lambda gradient, inputs: gradient * (inputs >= 0),
            ),
            usual(
                "You multiply the gradient by the output. The derivative of ReLU is 1 or 0; how "
                "large the input was does not matter.",
                lambda gradient, inputs: gradient * np.maximum(inputs, 0),
            ),
            usual(
                "Your mask is turned round: the gradient passes where the input was positive and "
                "stops elsewhere.",
                lambda gradient, inputs: gradient * (inputs <= 0),
                lambda gradient, inputs: gradient * (inputs < 0),
            ),
            usual(_DERIVATIVE_ALONE, lambda gradient, inputs: (inputs > 0).astype(float)),
            usual(
                "You apply ReLU to the gradient itself. Whether it passes depends on the sign of "
                "the input, not on its own.",
                lambda gradient, inputs: np.maximum(gradient, 0),
                lambda gradient, inputs: np.maximum(gradient, 0) * (inputs > 0),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "sigmoid_backward",
        lambda gradient, outputs: gradient * outputs * (1 - outputs),
        cases=_sigmoid_cases,
        mistakes=(
            usual(
                "You multiply by y and forget the factor 1 - y. Without it the gradient does not "
                "fade where the sigmoid is flat at 1.",
                lambda gradient, outputs: gradient * outputs,
            ),
            usual(
                "You multiply by 1 - y and forget the factor y. Without it the gradient does not "
                "fade where the sigmoid is flat at 0.",
                lambda gradient, outputs: gradient * (1 - outputs),
            ),
            usual(
                "You apply the sigmoid once more. What you are given are outputs, so it has been "
                "applied already.",
                lambda gradient, outputs: gradient * _sigmoid(outputs) * (1 - _sigmoid(outputs)),
            ),
            usual(
                "This is the derivative of tanh. The sigmoid's outputs run from 0 to 1, and its "
                "derivative must vanish at both ends.",
                lambda gradient, outputs: gradient * (1 - outputs**2),
            ),
            usual(
                "Your sign is turned round: the derivative is y (1 - y), which is never negative, "
                "since the sigmoid never falls.",
                lambda gradient, outputs: gradient * outputs * (outputs - 1),
            ),
            usual(_DERIVATIVE_ALONE, lambda gradient, outputs: outputs * (1 - outputs)),
        ),
    ),
    Exercise(
        "ch03",
        "tanh_backward",
        lambda gradient, outputs: gradient * (1 - outputs**2),
        cases=_tanh_cases,
        mistakes=(
            usual(
                "You multiply by 1 - y and forget the square. At y = -1, where tanh is flat, that "
                "gives 2.",
                lambda gradient, outputs: gradient * (1 - outputs),
            ),
            usual(
                "This is the derivative of the sigmoid. The outputs of tanh run from -1 to 1, and "
                "at 0 its slope is 1.",
                lambda gradient, outputs: gradient * outputs * (1 - outputs),
            ),
            usual(
                "You apply tanh once more. What you are given are outputs, so it has been applied "
                "already.",
                lambda gradient, outputs: gradient * (1 - np.tanh(outputs) ** 2),
            ),
            usual(_DERIVATIVE_ALONE, lambda gradient, outputs: 1 - outputs**2),
        ),
    ),
    Exercise(
        "ch03",
        "mse_gradient",
        _mse_gradient,
        cases=lambda generator: [
            (generator.normal(size=shape), generator.normal(size=shape))
            for shape in ((4, 3), (5,), (3, 3), (2, 3, 2))
        ],
        mistakes=(
            usual(
                "Yours is half of it. The square brings a factor 2 down; only a loss that is "
                "defined with a half would cancel it.",
                lambda predictions, targets: (predictions - targets) / predictions.size,
            ),
            usual(
                "The sign is turned round: where the prediction is too large the gradient must be "
                "positive, so that a step against it makes the prediction smaller.",
                lambda predictions, targets: 2 * (targets - predictions) / predictions.size,
            ),
            usual(
                "You divide by the number of examples. This loss is the mean over all entries, of "
                "which every example has several.",
                lambda predictions, targets: 2 * (predictions - targets) / len(predictions),
            ),
            usual(
                "You do not divide at all. The loss is a mean, so each entry has its share of the "
                "whole.",
                lambda predictions, targets: 2 * (predictions - targets),
                lambda predictions, targets: predictions - targets,
            ),
            usual(
                "You divide by the length of the last axis only. The mean runs over all entries, "
                "the examples among them.",
                lambda predictions, targets: 2 * (predictions - targets) / predictions.shape[-1],
            ),
            usual(
                "You return the loss, one number. Its gradient has an entry for each prediction.",
                lambda predictions, targets: ((predictions - targets) ** 2).mean(),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "linear_backward",
        _linear_backward,
        cases=_linear_cases,
        returns=("inputs_gradient", "weight_gradient", "bias_gradient"),
        mistakes=(
            usual(
                "Your weight gradient is transposed: it must have the weight's own shape, (out, "
                "in), or the two cannot be subtracted.",
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    inputs.T @ gradient,
                    gradient.sum(axis=0),
                ),
            ),
            usual(
                "You average the bias gradient over the batch. The mean is already in the gradient "
                "that comes in; the bias reaches every example, so their parts add up.",
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    gradient.T @ inputs,
                    gradient.mean(axis=0),
                ),
            ),
            usual(
                "You multiply by the transposed weight on the way back. Forward it was transposed, "
                "so backward it is not; with a square weight only the numbers tell.",
                lambda gradient, inputs, weight: (
                    gradient @ weight.T,
                    gradient.T @ inputs,
                    gradient.sum(axis=0),
                ),
            ),
            usual(
                "You multiply by the inputs where the weight belongs. How the output depends on an "
                "input is told by the weight.",
                lambda gradient, inputs, weight: (
                    gradient @ inputs,
                    gradient.T @ inputs,
                    gradient.sum(axis=0),
                ),
            ),
            usual(
                "You divide by the batch size once more. The gradient that comes in already "
                "contains the 1/n of the mean.",
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    gradient.T @ inputs / len(inputs),
                    gradient.mean(axis=0),
                ),
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    gradient.T @ inputs / len(inputs),
                    gradient.sum(axis=0),
                ),
            ),
            usual(
                "Your three gradients come in another order than asked: inputs, weight, bias.",
                lambda gradient, inputs, weight: (
                    gradient.T @ inputs,
                    gradient.sum(axis=0),
                    gradient @ weight,
                ),
            ),
            usual(
                "Your bias gradient has one row, as a matrix. A bias is a vector, and so is its "
                "gradient: keep no axis that was added over.",
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    gradient.T @ inputs,
                    gradient.sum(axis=0, keepdims=True),
                ),
            ),
            usual(
                "Your bias gradient still has a row for each example. One bias serves them all, so "
                "add over the batch.",
                lambda gradient, inputs, weight: (
                    gradient @ weight,
                    gradient.T @ inputs,
                    gradient,
                ),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "same_pace",
        lambda rate, momentum: rate / (1 - momentum),
        cases=lambda generator: [(0.02, 0.9), (0.1, 0.5), (0.3, 0.0), (1.0, 0.99)],
        mistakes=(
            usual(
                "You make plain descent slower. Momentum adds up gradients that agree, so its "
                "steps are the longer ones, and plain descent needs a larger rate.",
                lambda rate, momentum: rate * (1 - momentum),
            ),
            usual(
                "You add momentum once. What stays of the velocity is added again at every step: "
                "sum the whole series.",
                lambda rate, momentum: rate * (1 + momentum),
            ),
            usual(
                "You sum the series of a gradient that changes its sign with every step. Here it "
                "stays the same.",
                lambda rate, momentum: rate / (1 + momentum),
            ),
            usual(
                "You return the same rate. With it momentum is ahead because its steps are longer.",
                lambda rate, momentum: rate,
            ),
        ),
    ),
    Exercise(
        "ch03",
        "dropout_backward",
        lambda gradient, kept, rate: gradient * kept / (1 - rate),
        cases=_dropout_cases,
        mistakes=(
            usual(
                "The scale is missing. Forward, what stayed was divided by the probability of "
                "staying; the gradient takes the same factor.",
                lambda gradient, kept, rate: gradient * kept,
            ),
            usual(
                "You multiply by the probability of staying. Forward, what stayed was made larger, "
                "so its gradient is larger too.",
                lambda gradient, kept, rate: gradient * kept * (1 - rate),
            ),
            usual(
                "You scale, but let everything pass. What was set to zero has no influence on the "
                "loss, so its gradient is 0.",
                lambda gradient, kept, rate: gradient / (1 - rate),
            ),
            usual(
                "Your mask is turned round: the gradient passes where the input was kept.",
                lambda gradient, kept, rate: gradient * ~kept / (1 - rate),
                lambda gradient, kept, rate: gradient * ~kept,
            ),
            usual(
                "You divide by the rate. That is the probability of being dropped; forward, the "
                "inputs were divided by the probability of staying.",
                lambda gradient, kept, rate: gradient * kept / rate,
            ),
        ),
    ),
    Exercise(
        "ch03",
        "central_difference",
        lambda function, at, step: central_difference(function, at, step),
        cases=_difference_cases,
        tolerance=1e-8,
        mistakes=(
            usual(
                "You take the difference to one side only. Its error shrinks with the step; that "
                "of a difference to both sides shrinks with the step squared.",
                _one_sided,
                lambda function, at, step: _one_sided(function, at, -step),
            ),
            usual(
                "Your gradient is twice too large. From one step below to one step above are two "
                "steps.",
                lambda function, at, step: 2 * central_difference(function, at, step),
            ),
            usual(
                "You do not put an entry back before you move the next, so all later entries are "
                "measured at another point.",
                lambda function, at, step: _never_back(function, at, step, 1, -1),
                lambda function, at, step: _never_back(function, at, step, -1, 1),
                lambda function, at, step: _never_back(function, at, step, 1, 1),
            ),
            usual(
                "You move all entries at the same time, which gives one slope for all. Each entry "
                "is moved alone, the others stay.",
                lambda function, at, step: (function(at + step) - function(at - step)) / (2 * step),
                lambda function, at, step: np.full_like(
                    at, (function(at + step) - function(at - step)) / (2 * step)
                ),
            ),
            usual(
                "Your gradient is zero everywhere. Two names for one array are one array: what "
                "moves up under the one name moves under the other, so copy it.",
                lambda function, at, step: np.zeros_like(at),
            ),
            usual(
                "You do not divide by the step. A difference becomes a slope only by the distance "
                "that it spans.",
                lambda function, at, step: 2 * step * central_difference(function, at, step),
                lambda function, at, step: step * central_difference(function, at, step),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "momentum_step",
        _momentum_step,
        cases=_momentum_cases,
        returns=("parameter", "velocity"),
        mistakes=(
            usual(
                "You scale the gradient by 1 - momentum, which makes the velocity an average. "
                "torch.optim.SGD adds the gradient whole.",
                lambda parameter, gradient, velocity, learning_rate, momentum: _momentum_step(
                    parameter, (1 - momentum) * gradient, velocity, learning_rate, momentum
                ),
            ),
            usual(
                "Your learning rate is part of the velocity. In torch.optim.SGD it is applied to "
                "the finished velocity, so that a schedule takes effect at once.",
                lambda parameter, gradient, velocity, learning_rate, momentum: _momentum_step(
                    parameter, learning_rate * gradient, velocity, 1, momentum
                ),
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter + momentum * velocity - learning_rate * gradient,
                    momentum * velocity - learning_rate * gradient,
                ),
            ),
            usual(
                "Your parameter moves by the gradient alone. It is the new velocity that moves it, "
                "or there is no momentum.",
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter - learning_rate * gradient,
                    momentum * velocity + gradient,
                ),
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter - learning_rate * gradient,
                    gradient,
                ),
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter - learning_rate * gradient,
                    velocity,
                ),
            ),
            usual(
                "You step with the gradient, uphill. The loss falls in the opposite direction.",
                lambda parameter, gradient, velocity, learning_rate, momentum: _momentum_step(
                    parameter, gradient, velocity, -learning_rate, momentum
                ),
                lambda parameter, gradient, velocity, learning_rate, momentum: _momentum_step(
                    parameter, -gradient, velocity, learning_rate, momentum
                ),
            ),
            usual(
                "You look ahead, as Nesterov's momentum does: the gradient is added once more to "
                "the new velocity. Asked is the plain form, where the velocity alone is the step.",
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter
                    - learning_rate * (gradient + momentum * (momentum * velocity + gradient)),
                    momentum * velocity + gradient,
                ),
            ),
            usual(
                "You move the parameter by the old velocity. Bring the velocity up to date first, "
                "then step.",
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter - learning_rate * velocity,
                    momentum * velocity + gradient,
                ),
            ),
            usual(
                "Your parameter is right, but you return the old velocity, so the next step would "
                "start without this one.",
                lambda parameter, gradient, velocity, learning_rate, momentum: (
                    parameter - learning_rate * (momentum * velocity + gradient),
                    velocity,
                ),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "adam_step",
        _adam_step,
        cases=_adam_cases,
        returns=("parameter", "mean", "square"),
        mistakes=(
            usual(
                "You leave the means uncorrected. Both begin at zero, so the first steps have the "
                "wrong length; divide each by 1 - beta^step.",
                lambda *arguments: _adam(*arguments, corrected=False),
            ),
            usual(
                "Your epsilon stands inside the root. It is added to the root, to which it is much "
                "smaller.",
                lambda *arguments: _adam(*arguments, inside_root=True),
            ),
            usual(
                "You have the two betas the wrong way round: the first belongs to the mean of the "
                "gradient, the second to the mean of its square.",
                lambda parameter, gradient, mean, square, step, learning_rate, betas, epsilon: (
                    _adam(
                        parameter, gradient, mean, square, step, learning_rate, betas[::-1], epsilon
                    )
                ),
            ),
            usual(
                "You square the mean of the gradient. What is wanted is the mean of the squares, "
                "which stays large where gradients change their sign.",
                lambda *arguments: _adam(*arguments, squares_mean=True),
            ),
            usual(
                "You return the corrected means. They serve this one step; what is carried on to "
                "the next are the uncorrected ones.",
                lambda *arguments: _adam(*arguments, returns_corrected=True),
            ),
            usual(
                "Your correction is off by one step. The steps count from 1 already, so the power "
                "is the step itself.",
                lambda *arguments: _adam_at(1, *arguments),
                lambda *arguments: _adam_at(-1, *arguments),
            ),
            usual(
                "Above the line stands the gradient itself, as in RMSprop. In Adam it is the "
                "corrected mean of the gradients.",
                lambda *arguments: _adam(*arguments, raw_gradient=True),
            ),
            usual(
                "You take the root first and correct afterwards. The correction belongs to the "
                "mean square, so it goes under the root with it.",
                lambda *arguments: _adam(*arguments, correction_of_root=True),
            ),
            usual(
                "You add epsilon to the uncorrected root and correct both together, as section 2 "
                "of Adam's paper does to save time. Here and in PyTorch it is added last.",
                lambda *arguments: _adam(*arguments, epsilon_first=True),
            ),
            usual(
                "You divide by the mean of the squares without its root, so the step has the wrong "
                "unit: it would grow as gradients shrink.",
                lambda *arguments: _adam(*arguments, rooted=False),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "suspects",
        frozenset("ABDF"),
        hint="Run check_layer on every suspect and read every entry of its report.",
        mistakes=(
            usual(
                "You miss a layer whose gradient for the inputs is right and whose gradient for a "
                "parameter is not. Read every entry of the report.",
                frozenset("ABF"),
            ),
            usual(
                "These are the innocent ones. Name those that check_layer finds WRONG.",
                frozenset("CE"),
            ),
            usual(
                "You accuse all six. At some of them check_layer finds nothing wrong.",
                frozenset("ABCDEF"),
            ),
        ),
    ),
    Exercise(
        "ch03",
        "batch_norm_backward",
        _batch_norm_backward,
        cases=_batch_norm_cases,
        tolerance=1e-7,  # the two ways to sum differ where almost everything cancels
        mistakes=(
            usual(
                "You treat mean and deviation as constants. In training every input moves both, "
                "and so every normalised value of the batch.",
                lambda *arguments: _through_norm(
                    *arguments, through_mean=False, through_deviation=False
                ),
            ),
            usual(
                "The part that flows through the mean is missing: one input shifts the mean, and "
                "with it every other example.",
                lambda *arguments: _through_norm(*arguments, through_mean=False),
            ),
            usual(
                "The part that flows through the deviation is missing: one input widens the batch, "
                "and every other example is divided by more.",
                lambda *arguments: _through_norm(*arguments, through_deviation=False),
            ),
            usual(
                "You divide by the unbiased deviation, with n - 1. Batch normalisation divides by "
                "that with n; the unbiased one is only kept for evaluation.",
                lambda *arguments: _through_norm(*arguments, unbiased=True),
            ),
            usual(
                "You add over the batch where a mean is needed. Mean and variance divide by n, so "
                "each example has only its share in them.",
                lambda *arguments: _through_norm(*arguments, summed=True),
            ),
            usual(
                "The weight is missing on the two paths through mean and deviation. All three "
                "paths pass through it, so multiply the gradient by it first.",
                lambda *arguments: _through_norm(*arguments, weighs_all=False),
            ),
            usual(
                "Your epsilon is added to the deviation. It stands under the root, beside the "
                "variance.",
                lambda *arguments: _through_norm(*arguments, epsilon_outside=True),
            ),
            usual(
                "You leave the weight out. It scales the normalised values forward, so it scales "
                "the gradient too.",
                lambda gradient, inputs, weight, epsilon: _batch_norm_backward(
                    gradient, inputs, np.ones_like(weight), epsilon
                ),
            ),
        ),
    ),
)

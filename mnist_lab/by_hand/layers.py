"""Layers by hand in NumPy: what goes in, what comes out, and the gradient on the way back.

    network = Sequential(Flatten(), Linear(784, 128, generator), ReLU(), Linear(128, 10, generator))
    logits = network.forward(images)
    network.backward(loss.backward())

This is the mathematics of chapters 2 to 4 as code, in float64 and with no loop over digits or
pixels. `forward` remembers what `backward` will need. `backward` takes the gradient of the loss
with respect to what the layer returned, leaves the gradients of the layer's own parameters in
`gradients`, and returns the gradient with respect to what the layer was given. Names and the layout
of the parameters are PyTorch's, so that the two can be compared number by number; chapter 5 and all
that follow use PyTorch. Layers on images are in `images`.

n is the number of examples in a batch throughout.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def as_floats(values: ArrayLike) -> Floats:
    """Return the values as float64: pixels arrive as uint8, where 200 + 100 is 44."""
    return np.asarray(values, dtype=np.float64)


class Layer:
    """A function with a gradient.

    Attributes
    ----------
    parameters : dict of str to float64 array
        What the layer learns, by name. An optimiser changes the arrays in place.
    gradients : dict of str to float64 array
        The gradient for each parameter, of the same shape; filled by `backward`.
    training : bool
        Whether dropout and batch normalisation behave as in training. Others ignore it.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Floats] = {}
        self.gradients: dict[str, Floats] = {}
        self.training = True
        self._memory: Any = None

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return the layer's outputs for a batch, and remember what `backward` needs."""
        raise NotImplementedError

    def backward(self, gradient: ArrayLike) -> Floats:
        """Turn the gradient for the outputs into the one for the inputs; fill `gradients`."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Layer:
        """Switch to training mode, or with False to evaluation mode, and return the layer."""
        self.training = mode
        return self

    def eval(self) -> Layer:
        """Switch to evaluation mode and return the layer."""
        return self.train(False)

    def _remembered(self) -> Any:
        if self._memory is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward.")
        return self._memory


class Sequential(Layer):
    """Layers one after the other. Parameters are named as PyTorch names them: "0.weight"."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        self.layers = layers
        for number, layer in enumerate(layers):
            for name, parameter in layer.parameters.items():
                self.parameters[f"{number}.{name}"] = parameter  # the same array, not a copy

    def forward(self, inputs: ArrayLike) -> Floats:
        """Pass the batch through all layers, the first first."""
        outputs = as_floats(inputs)
        for layer in self.layers:
            outputs = layer.forward(outputs)
        return outputs

    def backward(self, gradient: ArrayLike) -> Floats:
        """Pass the gradient back through all layers, the last first: this is backpropagation."""
        gradient = as_floats(gradient)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        self.gradients = {  # in the order of the parameters
            f"{number}.{name}": layer.gradients[name]
            for number, layer in enumerate(self.layers)
            for name in layer.parameters
        }
        return gradient

    def train(self, mode: bool = True) -> Layer:
        """Switch all layers."""
        for layer in self.layers:
            layer.train(mode)
        return super().train(mode)


class Linear(Layer):
    """Weighted sums: y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
    generator : numpy.random.Generator
        Draws the weight (out_features, in_features) from a normal distribution of variance
        gain / in_features. The bias (out_features,) begins at zero.
    gain : float
        By how much the layer multiplies the mean square of its inputs, on average. 2 makes up for
        a ReLU after it, which halves that again [He et al., 2015]; 1 suits a last layer, after
        which no ReLU comes. (It is the square of what PyTorch calls a gain.)

    Raises
    ------
    ValueError
        By `forward`, if the inputs are not of shape (n, in_features).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        generator: np.random.Generator,
        *,
        gain: float = 2,
    ) -> None:
        super().__init__()
        deviation = math.sqrt(gain / in_features)
        self.parameters["weight"] = generator.normal(0, deviation, (out_features, in_features))
        self.parameters["bias"] = np.zeros(out_features)

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, in_features) -> (n, out_features)."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        inputs = as_floats(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != weight.shape[1]:
            raise ValueError(
                f"This linear layer takes batches of shape (n, {weight.shape[1]}), "
                f"not {inputs.shape}."
            )
        self._memory = inputs
        return inputs @ weight.T + bias

    def backward(self, gradient: ArrayLike) -> Floats:
        """(n, out_features) -> (n, in_features)."""
        inputs, gradient = self._remembered(), as_floats(gradient)
        self.gradients["weight"] = gradient.T @ inputs
        self.gradients["bias"] = gradient.sum(axis=0)
        return gradient @ self.parameters["weight"]


class Flatten(Layer):
    """Each example as one row."""

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, ...) -> (n, product of the rest)."""
        inputs = as_floats(inputs)
        self._memory = inputs.shape
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))

    def backward(self, gradient: ArrayLike) -> Floats:
        """Give the gradient the inputs' shape."""
        return as_floats(gradient).reshape(self._remembered())


class Sigmoid(Layer):
    """1 / (1 + e^-x), with all digits right however negative x is.

    No exponent is positive, so none overflows, and nothing is subtracted, so no digit is lost.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return values between 0 and 1."""
        inputs = as_floats(inputs)
        small = np.exp(-np.abs(inputs))
        self._memory = np.where(inputs >= 0, 1.0, small) / (1 + small)
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the derivative, y (1 - y)."""
        outputs = self._remembered()
        return as_floats(gradient) * outputs * (1 - outputs)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return values between -1 and 1."""
        self._memory = np.tanh(as_floats(inputs))
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the derivative, 1 - y^2."""
        return as_floats(gradient) * (1 - self._remembered() ** 2)


class ReLU(Layer):
    """What is positive stays, the rest becomes 0.

    At 0 itself there is no derivative; as PyTorch does, we take 0.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return max(x, 0)."""
        inputs = as_floats(inputs)
        self._memory = inputs > 0  # of the inputs: the outputs are never negative
        return np.maximum(inputs, 0.0)

    def backward(self, gradient: ArrayLike) -> Floats:
        """Let the gradient pass where the input was positive."""
        return as_floats(gradient) * self._remembered()


class Softmax(Layer):
    """Probabilities from logits, along the last axis.

    The largest logit is subtracted first: the result is the same, and no exponential overflows.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, classes) -> (n, classes): positive, each row sums to 1."""
        inputs = as_floats(inputs)
        powers = np.exp(inputs - inputs.max(axis=-1, keepdims=True))
        self._memory = powers / powers.sum(axis=-1, keepdims=True)
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the Jacobian, p_i (delta_ij - p_j), without ever forming it."""
        outputs, gradient = self._remembered(), as_floats(gradient)
        return outputs * (gradient - (gradient * outputs).sum(axis=-1, keepdims=True))


class Dropout(Layer):
    """Set a random part of the inputs to zero in training; change nothing in evaluation.

    What stays is divided by the probability of staying, so that the expected value is the same in
    both modes [Srivastava et al., 2014].

    Parameters
    ----------
    rate : float
        Probability of being set to zero, in [0, 1).
    generator : numpy.random.Generator
        Draws which, anew in every call of `forward`.

    Raises
    ------
    ValueError
        If the rate is not in [0, 1).
    """

    def __init__(self, rate: float, generator: np.random.Generator) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"A dropout rate is at least 0 and below 1, not {rate}.")
        self.rate = rate
        self.generator = generator

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return the inputs, in training with a part of them zero and the rest scaled up."""
        inputs = as_floats(inputs)
        kept = np.ones(inputs.shape)
        if self.training:
            kept = (self.generator.random(inputs.shape) >= self.rate) / (1 - self.rate)
        self._memory = kept
        return inputs * kept

    def backward(self, gradient: ArrayLike) -> Floats:
        """Scale the gradient as the inputs were scaled, and stop it where they were."""
        return as_floats(gradient) * self._remembered()


class BatchNorm(Layer):
    """Bring each feature to mean 0 and deviation 1 over the batch, then scale and shift it.

    In evaluation the statistics of the batch give way to running averages of what was seen in
    training [Ioffe and Szegedy, 2015].

    Parameters
    ----------
    features : int
        Columns of a batch (n, features), or channels of images (n, features, height, width), whose
        pixels all count as examples.
    momentum : float
        Weight of the newest batch in the running averages.
    epsilon : float
        Added to the variance, so that a constant feature divides by no zero.

    Attributes
    ----------
    running_mean, running_variance : array (features,)
        The variance is the unbiased one, as in PyTorch.
    """

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.parameters["weight"] = np.ones(features)
        self.parameters["bias"] = np.zeros(features)
        self.running_mean = np.zeros(features)
        self.running_variance = np.ones(features)

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return the same shape.

        Raises
        ------
        ValueError
            If the inputs have another number of features, or in training only one example.
        """
        inputs = as_floats(inputs)
        features = len(self.running_mean)
        if inputs.ndim not in (2, 4) or inputs.shape[1] != features:
            raise ValueError(
                f"This batch normalisation takes (n, {features}) or (n, {features}, height, "
                f"width), not {inputs.shape}."
            )
        axes = (0,) if inputs.ndim == 2 else (0, 2, 3)
        count = inputs.size // features
        if self.training:
            if count < 2:
                raise ValueError("Batch normalisation needs two examples or more in training.")
            mean, variance = inputs.mean(axis=axes), inputs.var(axis=axes)
            self.running_mean += self.momentum * (mean - self.running_mean)
            unbiased = variance * count / (count - 1)
            self.running_variance += self.momentum * (unbiased - self.running_variance)
        else:
            mean, variance = self.running_mean, self.running_variance
        deviation = self._along(np.sqrt(variance + self.epsilon), inputs.ndim)
        normalised = (inputs - self._along(mean, inputs.ndim)) / deviation
        self._memory = normalised, deviation, axes, self.training
        weight, bias = (self._along(self.parameters[k], inputs.ndim) for k in ("weight", "bias"))
        return weight * normalised + bias

    def backward(self, gradient: ArrayLike) -> Floats:
        """Pass the gradient back, in training also through mean and deviation of the batch."""
        normalised, deviation, axes, through_statistics = self._remembered()
        gradient = as_floats(gradient)
        self.gradients["weight"] = (gradient * normalised).sum(axis=axes)
        self.gradients["bias"] = gradient.sum(axis=axes)
        scaled = gradient * self._along(self.parameters["weight"], gradient.ndim)
        if through_statistics:
            through_mean = scaled.mean(axis=axes, keepdims=True)
            through_deviation = normalised * (scaled * normalised).mean(axis=axes, keepdims=True)
            scaled = scaled - through_mean - through_deviation
        return scaled / deviation

    @staticmethod
    def _along(values: Floats, dimensions: int) -> Floats:
        """Shape one value per feature so that it broadcasts over a batch."""
        return values.reshape(1, -1, *[1] * (dimensions - 2))

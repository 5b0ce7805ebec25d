"""Layers by hand in NumPy: forward, backward, two optimisers, and a check of every gradient.

    network = Sequential(Flatten(), Linear(784, 128, generator), ReLU(), Linear(128, 10, generator))
    loss, optimizer = SoftmaxCrossEntropy(), SGD(network, learning_rate=0.1, momentum=0.9)
    for x, y in iter_batches(images, labels, 128, generator):
        print(loss.forward(network.forward(x), y))
        network.backward(loss.backward())
        optimizer.step()

This is the mathematics of chapters 2 to 4 as code, in float64 and with no loop over digits or
pixels. `forward` remembers what `backward` will need. `backward` takes the gradient of the loss
with respect to what the layer returned, leaves the gradients of the layer's own parameters in
`gradients`, and returns the gradient with respect to what the layer was given. Names and the layout
of the parameters are PyTorch's, so that the two can be compared number by number; chapter 5 and all
that follow use PyTorch.

n is the number of examples in a batch throughout.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


# --- What all layers share -----------------------------------------------------------------------


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
        outputs = _floats(inputs)
        for layer in self.layers:
            outputs = layer.forward(outputs)
        return outputs

    def backward(self, gradient: ArrayLike) -> Floats:
        """Pass the gradient back through all layers, the last first: this is backpropagation."""
        gradient = _floats(gradient)
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


# --- Layers on vectors ---------------------------------------------------------------------------


class Linear(Layer):
    """Weighted sums: y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
    generator : numpy.random.Generator
        Draws the weight (out_features, in_features) from a normal distribution of variance
        2 / in_features [He et al., 2015]. The bias (out_features,) begins at zero.

    Raises
    ------
    ValueError
        By `forward`, if the inputs are not of shape (n, in_features).
    """

    def __init__(self, in_features: int, out_features: int, generator: np.random.Generator) -> None:
        super().__init__()
        deviation = math.sqrt(2 / in_features)
        self.parameters["weight"] = generator.normal(0, deviation, (out_features, in_features))
        self.parameters["bias"] = np.zeros(out_features)

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, in_features) -> (n, out_features)."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        inputs = _floats(inputs)
        if inputs.ndim != 2 or inputs.shape[1] != weight.shape[1]:
            raise ValueError(
                f"This linear layer takes batches of shape (n, {weight.shape[1]}), "
                f"not {inputs.shape}."
            )
        self._memory = inputs
        return inputs @ weight.T + bias

    def backward(self, gradient: ArrayLike) -> Floats:
        """(n, out_features) -> (n, in_features)."""
        inputs, gradient = self._remembered(), _floats(gradient)
        self.gradients["weight"] = gradient.T @ inputs
        self.gradients["bias"] = gradient.sum(axis=0)
        return gradient @ self.parameters["weight"]


class Flatten(Layer):
    """Each example as one row."""

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, ...) -> (n, product of the rest)."""
        inputs = _floats(inputs)
        self._memory = inputs.shape
        return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))

    def backward(self, gradient: ArrayLike) -> Floats:
        """Give the gradient the inputs' shape."""
        return _floats(gradient).reshape(self._remembered())


# --- Activations: any shape in, the same shape out -----------------------------------------------


class Sigmoid(Layer):
    """1 / (1 + e^-x), computed through tanh, which does not overflow."""

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return values between 0 and 1."""
        self._memory = 0.5 * (1 + np.tanh(_floats(inputs) / 2))
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the derivative, y (1 - y)."""
        outputs = self._remembered()
        return _floats(gradient) * outputs * (1 - outputs)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return values between -1 and 1."""
        self._memory = np.tanh(_floats(inputs))
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the derivative, 1 - y^2."""
        return _floats(gradient) * (1 - self._remembered() ** 2)


class ReLU(Layer):
    """What is positive stays, the rest becomes 0.

    At 0 itself there is no derivative; as PyTorch does, we take 0.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """Return max(x, 0)."""
        inputs = _floats(inputs)
        self._memory = inputs > 0  # of the inputs: the outputs are never negative
        return np.maximum(inputs, 0.0)

    def backward(self, gradient: ArrayLike) -> Floats:
        """Let the gradient pass where the input was positive."""
        return _floats(gradient) * self._remembered()


class Softmax(Layer):
    """Probabilities from logits, along the last axis.

    The largest logit is subtracted first: the result is the same, and no exponential overflows.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, classes) -> (n, classes): positive, each row sums to 1."""
        inputs = _floats(inputs)
        powers = np.exp(inputs - inputs.max(axis=-1, keepdims=True))
        self._memory = powers / powers.sum(axis=-1, keepdims=True)
        return self._memory

    def backward(self, gradient: ArrayLike) -> Floats:
        """Multiply with the Jacobian, p_i (delta_ij - p_j), without ever forming it."""
        outputs, gradient = self._remembered(), _floats(gradient)
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
        inputs = _floats(inputs)
        kept = np.ones(inputs.shape)
        if self.training:
            kept = (self.generator.random(inputs.shape) >= self.rate) / (1 - self.rate)
        self._memory = kept
        return inputs * kept

    def backward(self, gradient: ArrayLike) -> Floats:
        """Scale the gradient as the inputs were scaled, and stop it where they were."""
        return _floats(gradient) * self._remembered()


# --- Layers on images ----------------------------------------------------------------------------


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Return at how many places a kernel fits along a side of `size` pixels.

    Raises
    ------
    ValueError
        If it fits nowhere, or a number is out of its range.
    """
    if kernel < 1 or stride < 1 or padding < 0:
        raise ValueError(
            f"kernel and stride are at least 1 and padding at least 0, not {kernel}, {stride} and "
            f"{padding}."
        )
    if size + 2 * padding < kernel:
        raise ValueError(
            f"A kernel of {kernel} pixels does not fit into {size} pixels with a padding of "
            f"{padding}."
        )
    return (size + 2 * padding - kernel) // stride + 1


def windows(images: Floats, kernel: int, stride: int) -> Floats:
    """Return what lies under a kernel at each of its places, as a view that copies nothing.

    Parameters
    ----------
    images : array (n, channels, height, width)
        Padded already.

    Returns
    -------
    array (n, channels, rows, columns, kernel, kernel), read-only
    """
    every = sliding_window_view(images, (kernel, kernel), axis=(2, 3))
    return every[:, :, ::stride, ::stride]


def add_windows(
    shape: tuple[int, ...],
    parts: Callable[[int, int], Floats],
    kernel: int,
    stride: int,
    places: tuple[int, int],
) -> Floats:
    """Lay windows back onto images and add up where they overlap: the transpose of `windows`.

    The only loop is over the pixels of the kernel.

    Parameters
    ----------
    shape : (n, channels, height, width) of the result
    parts : function of (row, column) in the kernel
        Returns what that pixel of each window holds: (n, channels, rows, columns).
    places : (rows, columns)
        At how many places the kernel stands.
    """
    images = np.zeros(shape)
    rows, columns = (stride * (count - 1) + 1 for count in places)
    for a in range(kernel):
        for b in range(kernel):
            images[:, :, a : a + rows : stride, b : b + columns : stride] += parts(a, b)
    return images


def pad(images: Floats, padding: int) -> Floats:
    """Lay rows and columns of zeros around images (n, channels, height, width)."""
    if padding == 0:
        return images
    n, channels, height, width = images.shape
    padded = np.zeros((n, channels, height + 2 * padding, width + 2 * padding))
    padded[:, :, padding:-padding, padding:-padding] = images
    return padded


def _images(inputs: ArrayLike, channels: int | None = None) -> Floats:
    images = _floats(inputs)
    if images.ndim != 4 or (channels is not None and images.shape[1] != channels):
        wanted = "channels" if channels is None else channels
        raise ValueError(
            f"This layer takes images of shape (n, {wanted}, height, width), not {images.shape}."
        )
    return images


class Conv2d(Layer):
    """Kernels that slide over images: weighted sums of what lies under them, and a bias.

    Every output channel has one kernel for each input channel. As in PyTorch the kernel is not
    flipped, which mathematics calls a cross-correlation.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
    stride : int
        How many pixels the kernel moves from one place to the next.
    padding : int
        How many rows and columns of zeros are laid around the image.
    generator : numpy.random.Generator
        Draws the weight (out_channels, in_channels, kernel_size, kernel_size) with variance
        2 / (in_channels kernel_size^2) [He et al., 2015]. The bias (out_channels,) begins at zero.

    Raises
    ------
    ValueError
        By `forward`, if the inputs have another shape, or the kernel does not fit into them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        generator: np.random.Generator,
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        output_size(kernel_size, kernel_size, stride, padding)  # says what is out of range
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        deviation = math.sqrt(2 / math.prod(shape[1:]))
        self.parameters["weight"] = generator.normal(0, deviation, shape)
        self.parameters["bias"] = np.zeros(out_channels)
        self._stacked: dict[str, Floats] = {}

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, in_channels, height, width) -> (n, out_channels, rows, columns)."""
        weight, bias = self.parameters["weight"], self.parameters["bias"]
        out_channels, in_channels, kernel, _ = weight.shape
        images = _images(inputs, in_channels)
        n, _, height, width = images.shape
        rows = output_size(height, kernel, self.stride, self.padding)
        columns = output_size(width, kernel, self.stride, self.padding)

        padded = pad(images, self.padding)
        stacked = self._stack("inputs", padded, self.stride)
        self._memory = padded.shape, stacked, (rows, columns)
        outputs = weight.reshape(out_channels, -1) @ stacked
        outputs += bias[:, None]
        return outputs.reshape(n, out_channels, rows, columns)

    def backward(self, gradient: ArrayLike) -> Floats:
        """(n, out_channels, rows, columns) -> (n, in_channels, height, width)."""
        shape, stacked, (rows, columns) = self._remembered()
        n, in_channels, height, width = shape
        weight, kernel = self.parameters["weight"], self.kernel_size
        flat = _floats(gradient).reshape(n, len(weight), rows * columns)
        by_digit = flat @ stacked.transpose(0, 2, 1)
        self.gradients["weight"] = by_digit.sum(axis=0).reshape(weight.shape)
        self.gradients["bias"] = flat.sum(axis=(0, 2))

        def under(a: int, b: int) -> Floats:  # what pixel (a, b) of the kernel passes back
            return (weight[:, :, a, b].T @ flat).reshape(n, in_channels, rows, columns)

        if self.stride == 1 and in_channels >= len(weight):
            # Then adding up is itself a convolution, of the gradient with the flipped kernel, in
            # which in and out have changed places. With as many channels in as out it is quicker.
            wide = pad(flat.reshape(n, len(weight), rows, columns), kernel - 1)
            flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1).reshape(in_channels, -1)
            padded = (flipped @ self._stack("gradient", wide, 1)).reshape(shape)
        else:
            padded = add_windows(shape, under, kernel, self.stride, (rows, columns))
        edge = self.padding
        return padded[:, :, edge : height - edge, edge : width - edge]

    def _stack(self, name: str, images: Floats, stride: int) -> Floats:
        """im2col: each window becomes a column, so that sliding turns into a product of matrices.

        (n, channels, height, width) -> (n, channels kernel_size^2, rows columns). The array is kept
        under its name and filled again, since making such a large one anew takes time.
        """
        seen = windows(images, self.kernel_size, stride).transpose(0, 1, 4, 5, 2, 3)
        if name not in self._stacked or self._stacked[name].shape != seen.shape:
            self._stacked[name] = np.empty(seen.shape)
        self._stacked[name][...] = seen
        n, channels, kernel, _, rows, columns = seen.shape
        return self._stacked[name].reshape(n, channels * kernel**2, rows * columns)


class _Pool2d(Layer):
    """What both poolings share: a window, and how far it moves."""

    def __init__(self, kernel_size: int, stride: int | None = None) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        output_size(kernel_size, kernel_size, self.stride)

    def _windows(self, inputs: ArrayLike) -> tuple[Floats, Floats]:
        """Return the images and their windows (n, channels, rows, columns, kernel, kernel)."""
        images = _images(inputs)
        for side in images.shape[2:]:
            output_size(side, self.kernel_size, self.stride)  # says it if the window does not fit
        return images, windows(images, self.kernel_size, self.stride)


class MaxPool2d(_Pool2d):
    """Keep the largest pixel of each window; rows and columns left over at the edge are dropped.

    The gradient goes to the pixel that was kept. Where several are equally large, the first in
    reading order is kept, as in PyTorch.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        By default the kernel's size, so that windows do not overlap.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, channels, height, width) -> (n, channels, rows, columns)."""
        images, seen = self._windows(inputs)
        flat = seen.reshape(*seen.shape[:4], self.kernel_size**2)
        kept = flat.argmax(axis=-1)
        self._memory = images.shape, kept
        return np.take_along_axis(flat, kept[..., None], axis=-1)[..., 0]

    def backward(self, gradient: ArrayLike) -> Floats:
        """(n, channels, rows, columns) -> (n, channels, height, width)."""
        shape, kept = self._remembered()
        gradient, kernel = _floats(gradient), self.kernel_size
        return add_windows(
            shape,
            lambda a, b: gradient * (kept == kernel * a + b),
            kernel,
            self.stride,
            kept.shape[2:],
        )


class AvgPool2d(_Pool2d):
    """The mean of each window; rows and columns left over at the edge are dropped.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        By default the kernel's size, so that windows do not overlap.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, channels, height, width) -> (n, channels, rows, columns)."""
        images, seen = self._windows(inputs)
        self._memory = images.shape
        return seen.mean(axis=(4, 5))

    def backward(self, gradient: ArrayLike) -> Floats:
        """Give every pixel of a window the same share."""
        share = _floats(gradient) / self.kernel_size**2
        return add_windows(
            self._remembered(), lambda a, b: share, self.kernel_size, self.stride, share.shape[2:]
        )


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
        inputs = _floats(inputs)
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
        gradient = _floats(gradient)
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


# --- Losses: outputs and targets in, one number out ----------------------------------------------


class MeanSquaredError:
    """The mean over all entries of (prediction - target)^2."""

    def __init__(self) -> None:
        self._difference: Floats | None = None

    def forward(self, predictions: ArrayLike, targets: ArrayLike) -> float:
        """Return the loss of predictions and targets of the same shape (n, ...).

        Raises
        ------
        ValueError
            If the shapes differ: broadcasting would compare each with every other.
        """
        predictions, targets = _floats(predictions), _floats(targets)
        if predictions.shape != targets.shape:
            raise ValueError(
                f"Predictions {predictions.shape} and targets {targets.shape} differ in shape."
            )
        self._difference = predictions - targets
        return float((self._difference**2).mean())

    def backward(self) -> Floats:
        """Return the gradient for the predictions: 2 (prediction - target) / entries."""
        if self._difference is None:
            raise RuntimeError("MeanSquaredError.backward was called before forward.")
        return 2 * self._difference / self._difference.size


class SoftmaxCrossEntropy:
    """Minus the logarithm of the probability that softmax gives the right class; a batch's mean.

    Softmax and logarithm are computed together: with logits of 10,000 a probability underflows to
    0, whose logarithm is minus infinity, while the difference of two logits is as exact as ever.
    """

    def __init__(self) -> None:
        self._memory: tuple[Floats, NDArray[Any]] | None = None

    def forward(self, logits: ArrayLike, labels: ArrayLike) -> float:
        """Return the mean loss in nats.

        Parameters
        ----------
        logits : array (n, classes)
        labels : whole numbers (n,), each the index of the right class

        Raises
        ------
        ValueError
            If the shapes do not fit, or a label names no class.
        """
        logits, labels = _floats(logits), np.asarray(labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(logits) == 0:
            raise ValueError(
                f"Logits (n, classes) and labels (n,) are wanted, not {logits.shape} and "
                f"{labels.shape}."
            )
        if labels.dtype.kind not in "iu":
            raise ValueError(f"Labels are whole numbers, not {labels.dtype}.")
        if labels.min() < 0 or labels.max() >= logits.shape[1]:
            raise ValueError(f"Labels must be between 0 and {logits.shape[1] - 1}.")
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self._memory = log_probabilities, labels
        return float(-log_probabilities[np.arange(len(labels)), labels].mean())

    def backward(self) -> Floats:
        """Return the gradient for the logits: (probability - one-hot label) / n."""
        if self._memory is None:
            raise RuntimeError("SoftmaxCrossEntropy.backward was called before forward.")
        log_probabilities, labels = self._memory
        gradient = np.exp(log_probabilities)
        gradient[np.arange(len(labels)), labels] -= 1
        return gradient / len(labels)


# --- Optimisers ----------------------------------------------------------------------------------


class SGD:
    """Gradient descent, plain or with momentum; step by step equal to torch.optim.SGD.

    Parameters
    ----------
    network : Layer
        Its parameters are changed in place.
    learning_rate : float
        An attribute too: change it between steps for a schedule.
    momentum : float
        How much of the velocity each step keeps, in [0, 1).
    """

    def __init__(self, network: Layer, learning_rate: float, momentum: float = 0.0) -> None:
        self.network, self.learning_rate, self.momentum = network, learning_rate, momentum
        self._velocity = {name: np.zeros_like(p) for name, p in network.parameters.items()}

    def step(self) -> None:
        """Move every parameter once, by the gradients of the last `backward`."""
        for name, parameter in self.network.parameters.items():
            velocity = self._velocity[name]
            velocity *= self.momentum
            velocity += self.network.gradients[name]
            parameter -= self.learning_rate * velocity


class Adam:
    """Steps adapted to each parameter [Kingma and Ba, 2015]; equal to torch.optim.Adam.

    Parameters
    ----------
    network : Layer
        Its parameters are changed in place.
    learning_rate : float
        An attribute too: change it between steps for a schedule.
    betas : (float, float)
        How slowly the running means of the gradient and of its square forget.
    epsilon : float
        Keeps the division finite where gradients have always been zero.
    """

    def __init__(
        self,
        network: Layer,
        learning_rate: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.network, self.learning_rate = network, learning_rate
        self.betas, self.epsilon = betas, epsilon
        self._mean = {name: np.zeros_like(p) for name, p in network.parameters.items()}
        self._square = {name: np.zeros_like(p) for name, p in network.parameters.items()}
        self._steps = 0

    def step(self) -> None:
        """Move every parameter once, by the gradients of the last `backward`."""
        self._steps += 1
        # Both means begin at zero; dividing by these takes out what that beginning still weighs.
        of_mean, of_square = (1 - beta**self._steps for beta in self.betas)
        for name, parameter in self.network.parameters.items():
            gradient = self.network.gradients[name]
            mean, square = self._mean[name], self._square[name]
            mean += (1 - self.betas[0]) * (gradient - mean)
            square += (1 - self.betas[1]) * (gradient**2 - square)
            size = np.sqrt(square / of_square) + self.epsilon
            parameter -= self.learning_rate * (mean / of_mean) / size


# --- Around training -----------------------------------------------------------------------------


def iter_batches(
    images: NDArray[Any], labels: NDArray[Any], batch_size: int, generator: np.random.Generator
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield every example once, in random order: images (b, ...) and labels (b,).

    b is `batch_size`, but for the last batch, which holds what is left.

    Raises
    ------
    ValueError
        If there are more of the one than of the other, or the batch size is below 1.
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels make no pairs.")
    if batch_size < 1:
        raise ValueError(f"A batch holds at least 1 example, not {batch_size}.")
    order = generator.permutation(len(images))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield images[chosen], labels[chosen]


def accuracy(
    network: Layer, images: NDArray[Any], labels: NDArray[Any], batch_size: int = 1000
) -> float:
    """Return the share of right answers in evaluation mode; every layer's mode is restored.

    Raises
    ------
    ValueError
        If there is not exactly one label for each image, or no image.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if labels.shape != images.shape[:1] or len(images) == 0:
        raise ValueError(
            f"Images (n, ...) and labels (n,) are wanted, not {images.shape} and {labels.shape}."
        )
    modes = [(layer, layer.training) for layer in _with_inner(network)]
    network.eval()
    right = 0
    try:
        for start in range(0, len(images), batch_size):
            logits = network.forward(images[start : start + batch_size])
            right += int((logits.argmax(axis=1) == labels[start : start + batch_size]).sum())
    finally:
        for layer, training in modes:
            layer.training = training
    return right / len(images)


def _with_inner(layer: Layer) -> Iterator[Layer]:
    yield layer
    if isinstance(layer, Sequential):
        for inner in layer.layers:
            yield from _with_inner(inner)


# --- Checking gradients --------------------------------------------------------------------------


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
    def passed(self) -> bool:
        """Whether the relative error is below 1e-6."""
        return self.error < 1e-6

    def __str__(self) -> str:
        """Say it in a line."""
        if self.passed:
            return "right"
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
    point = _floats(at).copy()
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
    at, gradient = _floats(at), _floats(gradient)
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
    layer: Layer, inputs: ArrayLike, generator: np.random.Generator, step: float = 1e-5
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
    inputs = _floats(inputs)
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
        name: gradient_check(partial(value, name), gradients[name], point, step)
        for name, point in points.items()
    }

"""Layers on images by hand: convolution and pooling (chapter 4).

    network = Sequential(
        Conv2d(1, 8, 5, generator, stride=2, padding=2), ReLU(), MaxPool2d(2),  # (n, 8, 7, 7)
        Flatten(), Linear(8 * 7 * 7, 10, generator),
    )

An end that forgets where in the image something was found has `GlobalAvgPool()` in place of
`Flatten()`, and then `Linear(8, 10, generator)`.

Images are (n, channels, height, width), as PyTorch has them. The arithmetic is that of one product
of matrices: `windows` shows what lies under the kernel at each of its places, and `add_windows`
takes gradients the same way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from mnist_lab.by_hand.layers import Floats, Layer, as_floats


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
    for row in range(kernel):
        for column in range(kernel):
            under = images[:, :, row : row + rows : stride, column : column + columns : stride]
            under += parts(row, column)
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
    images = as_floats(inputs)
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
        flat = as_floats(gradient).reshape(n, len(weight), rows * columns)
        by_digit = flat @ stacked.transpose(0, 2, 1)
        self.gradients["weight"] = by_digit.sum(axis=0).reshape(weight.shape)
        self.gradients["bias"] = flat.sum(axis=(0, 2))

        def under(row: int, column: int) -> Floats:  # what this weight of each kernel passes back
            return (weight[:, :, row, column].T @ flat).reshape(n, in_channels, rows, columns)

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
        gradient, kernel = as_floats(gradient), self.kernel_size
        return add_windows(
            shape,
            lambda row, column: gradient * (kept == kernel * row + column),
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
        share = as_floats(gradient) / self.kernel_size**2
        shape, places = self._remembered(), share.shape[2:]
        return add_windows(
            shape, lambda _row, _column: share, self.kernel_size, self.stride, places
        )


class GlobalAvgPool(Layer):
    """The mean of each channel over all its places: what was found, and no longer where.

    A last layer after it has one weight for each channel and class, whatever the images' size
    [Lin et al., 2013]. PyTorch's `AdaptiveAvgPool2d(1)` gives the same means.
    """

    def forward(self, inputs: ArrayLike) -> Floats:
        """(n, channels, height, width) -> (n, channels)."""
        images = _images(inputs)
        self._memory = images.shape
        return images.mean(axis=(2, 3))

    def backward(self, gradient: ArrayLike) -> Floats:
        """(n, channels) -> (n, channels, height, width): every place gets the same share."""
        n, channels, height, width = self._remembered()
        share = as_floats(gradient).reshape(n, channels, 1, 1) / (height * width)
        return np.broadcast_to(share, (n, channels, height, width)).copy()

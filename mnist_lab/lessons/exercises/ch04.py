"""The exercises of chapter 4: sizes, convolution and pooling forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_lab.by_hand.images import AvgPool2d, Conv2d, MaxPool2d, add_windows, output_size, windows
from mnist_lab.by_hand.layers import Floats
from mnist_lab.lessons.exercises.checking import Case, Exercise, usual

Array = NDArray[Any]


# --- Cases ---------------------------------------------------------------------------------------


def _size_cases(generator: np.random.Generator) -> list[Case]:
    # size, kernel, stride, padding
    return [(28, 5, 1, 0), (28, 3, 1, 1), (28, 3, 2, 1), (7, 2, 2, 0), (5, 5, 3, 0), (11, 3, 3, 2)]


def _image_cases(generator: np.random.Generator) -> list[Case]:
    sizes = [((5, 7), 3), ((4, 4), 2), ((6, 5), 5), ((3, 4), 1)]
    return [(generator.normal(size=size), generator.normal(size=(k, k))) for size, k in sizes]


def _weight_cases(generator: np.random.Generator) -> list[Case]:
    # n, in, out, height, width, kernel
    sizes = [(2, 3, 2, 5, 6, 3), (3, 2, 2, 4, 4, 2), (2, 1, 4, 3, 3, 3), (4, 2, 3, 4, 5, 2)]
    return [
        (
            generator.normal(size=(n, out, height - k + 1, width - k + 1)),
            generator.normal(size=(n, channels, height, width)),
            k,
        )
        for n, channels, out, height, width, k in sizes
    ]


def _input_cases(generator: np.random.Generator) -> list[Case]:
    # n, in, out, rows, columns, kernel
    sizes = [(2, 3, 2, 3, 4, 3), (3, 2, 2, 3, 3, 2), (1, 1, 4, 1, 2, 3), (2, 3, 3, 4, 2, 5)]
    return [
        (generator.normal(size=(n, out, rows, columns)), generator.normal(size=(out, c, k, k)))
        for n, c, out, rows, columns, k in sizes
    ]


def _max_pool_cases(generator: np.random.Generator) -> list[Case]:
    def gradient(images: Array, kernel: int) -> Floats:
        n, channels, height, width = images.shape
        return generator.normal(size=(n, channels, height // kernel, width // kernel))

    images = [
        (generator.normal(size=(2, 3, 4, 6)), 2),
        (generator.integers(0, 2, size=(3, 2, 6, 6)).astype(float), 2),  # many ties
        (np.zeros((1, 2, 6, 3)), 3),  # nothing but ties, as after a ReLU
        (-1 - generator.random(size=(2, 1, 5, 7)), 2),  # negative; a row and a column left over
    ]
    return [(gradient(batch, kernel), batch, kernel) for batch, kernel in images]


# --- Solutions and mistakes ----------------------------------------------------------------------


def _convolution(weight: Array, padding: int = 0) -> Conv2d:
    """Return a layer with these weights (out, in, k, k) and no bias."""
    out, channels, kernel, _ = weight.shape
    layer = Conv2d(channels, out, kernel, np.random.default_rng(0), padding=padding)
    layer.parameters["weight"] = np.asarray(weight, dtype=float)
    return layer


def _cross_correlate(image: Array, kernel: Array) -> Floats:
    return _convolution(kernel[None, None]).forward(image[None, None])[0, 0]


def _padded_cross_correlate(image: Array, kernel: Array) -> Floats:
    layer = _convolution(kernel[None, None], padding=len(kernel) // 2)
    return layer.forward(image[None, None])[0, 0]


def _last_product_alone(image: Array, kernel: Array) -> Floats:
    """Write every weight's product over the one before, in place of adding it."""
    size = len(kernel) - 1
    return np.asarray(kernel[-1, -1] * image[size:, size:], dtype=float)


def _convolution_weight_gradient(gradient: Array, images: Array, kernel: int) -> Floats:
    layer = _convolution(np.zeros((gradient.shape[1], images.shape[1], kernel, kernel)))
    layer.forward(images)
    layer.backward(gradient)
    return layer.gradients["weight"]


def _convolution_input_gradient(gradient: Array, weight: Array) -> Floats:
    n, _, rows, columns = gradient.shape
    _, channels, kernel, _ = weight.shape
    layer = _convolution(weight)
    layer.forward(np.zeros((n, channels, rows + kernel - 1, columns + kernel - 1)))
    return layer.backward(gradient)


def _written_over(gradient: Array, weight: Array, by: str) -> Floats:
    """Write windows over each other in place of adding them, in reading order."""
    n, _, rows, columns = gradient.shape
    _, channels, kernel, _ = weight.shape
    result = np.zeros((n, channels, rows + kernel - 1, columns + kernel - 1))
    if by == "places":
        for i, j in np.ndindex(rows, columns):
            part = np.einsum("no,ocrq->ncrq", gradient[:, :, i, j], weight)
            result[:, :, i : i + kernel, j : j + kernel] = part
    else:
        for r, q in np.ndindex(kernel, kernel):
            part = np.einsum("noij,oc->ncij", gradient, weight[:, :, r, q])
            result[:, :, r : r + rows, q : q + columns] = part
    return result


def _full(gradient: Array, kernels: Array) -> Floats:
    """Correlate the gradient, with a full border of zeros, with kernels (in, out, k, k)."""
    return _convolution(kernels, padding=kernels.shape[-1] - 1).forward(gradient)


def _half_padded(gradient: Array, weight: Array) -> Floats:
    kernels = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    return _convolution(kernels, padding=kernels.shape[-1] // 2).forward(gradient)


def _cropped(gradient: Array, weight: Array) -> Floats:
    _, _, rows, columns = gradient.shape
    edge = (weight.shape[-1] - 1) // 2
    whole = _convolution_input_gradient(gradient, weight)
    return whole[:, :, edge : edge + rows, edge : edge + columns]


def _max_pool_backward(gradient: Array, images: Array, kernel: int) -> Floats:
    layer = MaxPool2d(kernel)
    layer.forward(images)
    return layer.backward(gradient)


def _shared_out(gradient: Array, images: Array, kernel: int, how: str) -> Floats:
    """Give the gradient of each window to its pixels, in one of the wrong ways."""
    under = windows(np.asarray(images, dtype=float), kernel, kernel)
    flat = under.reshape(*under.shape[:4], -1)
    largest = flat == flat.max(axis=-1, keepdims=True)
    share: Floats
    if how == "ties":
        share = largest.astype(float)
    elif how == "split":
        share = largest / largest.sum(axis=-1, keepdims=True)
    elif how == "last":
        last = flat.shape[-1] - 1 - flat[..., ::-1].argmax(axis=-1)
        share = np.eye(flat.shape[-1])[last]
    elif how == "columns":
        turned = under.swapaxes(-1, -2).reshape(flat.shape).argmax(axis=-1)
        share = np.eye(flat.shape[-1])[kernel * (turned % kernel) + turned // kernel]
    else:
        share = np.ones(flat.shape) / (kernel**2 if how == "average" else 1)
    return add_windows(
        images.shape,
        lambda a, b: gradient * share[..., kernel * a + b],
        kernel,
        kernel,
        (flat.shape[2], flat.shape[3]),
    )


def _covered_part(gradient: Array, images: Array, kernel: int) -> Floats:
    _, _, rows, columns = gradient.shape
    whole = _max_pool_backward(gradient, images, kernel)
    return whole[:, :, : rows * kernel, : columns * kernel]


def _spread(gradient: Array, kernel: int) -> Floats:
    return gradient.repeat(kernel, axis=2).repeat(kernel, axis=3)


def _repeated_in_one_row(gradient: Array, kernel: int) -> Floats:
    n, channels, rows, columns = gradient.shape
    return gradient.repeat(kernel**2).reshape(n, channels, rows * kernel, columns * kernel)


def _average_pool_backward(gradient: Array, kernel: int) -> Floats:
    n, channels, rows, columns = gradient.shape
    layer = AvgPool2d(kernel)
    layer.forward(np.zeros((n, channels, rows * kernel, columns * kernel)))
    return layer.backward(gradient)


def _receptive_field(layers: Sequence[tuple[int, int]]) -> int:
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field


def _with_its_own_stride(layers: Sequence[tuple[int, int]]) -> int:
    field, jump = 1, 1
    for kernel, stride in layers:
        jump *= stride
        field += (kernel - 1) * jump
    return field


def _whole_kernels(layers: Sequence[tuple[int, int]]) -> int:
    field, jump = 1, 1
    for kernel, stride in layers:
        field += kernel * jump
        jump *= stride
    return field


def _only_the_stride_before(layers: Sequence[tuple[int, int]]) -> int:
    field, before = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * before
        before = stride
    return field


def _from_the_wrong_end(layers: Sequence[tuple[int, int]]) -> int:
    field = 1
    for kernel, stride in layers:
        field = (field - 1) * stride + kernel
    return field


EXERCISES = (
    Exercise(
        "ch04",
        "output_size",
        lambda size, kernel, stride, padding: output_size(size, kernel, stride, padding),
        cases=_size_cases,
        mistakes=(
            usual(
                "You count the moves and forget the place where the kernel begins: one more.",
                lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride,
            ),
            usual(
                "You add the one before you divide. The division counts the moves, rounded down; "
                "the first place comes on top of them.",
                lambda size, kernel, stride, padding: (size + 2 * padding - kernel + 1) // stride,
            ),
            usual(
                "You count the padding once. It is laid on both sides.",
                lambda size, kernel, stride, padding: (size + padding - kernel) // stride + 1,
            ),
            usual(
                "You round up. Where the kernel would reach beyond the edge it does not fit, so "
                "the last place is dropped.",
                lambda size, kernel, stride, padding: (
                    math.ceil((size + 2 * padding - kernel) / stride) + 1
                ),
            ),
            usual(
                "You leave the stride out. The kernel moves by that many pixels, so it has fewer "
                "places.",
                lambda size, kernel, stride, padding: size + 2 * padding - kernel + 1,
            ),
            usual(
                "Your division leaves a fraction. Places are whole numbers: round down before you "
                "add one.",
                lambda size, kernel, stride, padding: (size + 2 * padding - kernel) / stride + 1,
            ),
        ),
    ),
    Exercise(
        "ch04",
        "convolution_parameters",
        lambda in_channels, out_channels, kernel: (
            out_channels * in_channels * kernel**2 + out_channels
        ),
        cases=lambda generator: [(1, 6, 5), (3, 16, 3), (16, 32, 5), (2, 3, 4)],
        mistakes=(
            usual(
                "You forget the biases: every output channel has one.",
                lambda in_channels, out_channels, kernel: out_channels * in_channels * kernel**2,
            ),
            usual(
                "You leave the input channels out. A kernel reaches through all of them, with "
                "weights of its own for each.",
                lambda in_channels, out_channels, kernel: out_channels * kernel**2 + out_channels,
            ),
            usual(
                "You count a bias for each slice of a kernel. The slices are added into one output "
                "channel, and that has one bias.",
                lambda in_channels, out_channels, kernel: (
                    out_channels * in_channels * (kernel**2 + 1)
                ),
            ),
            usual(
                "You count a bias for each input channel. It is added to an output, so every "
                "output channel has one.",
                lambda in_channels, out_channels, kernel: (
                    out_channels * in_channels * kernel**2 + in_channels
                ),
            ),
            usual(
                "Your kernel is a line: it has `kernel` rows as well as `kernel` columns.",
                lambda in_channels, out_channels, kernel: (
                    out_channels * in_channels * kernel + out_channels
                ),
            ),
            usual(
                "You count one bias in all. Every output channel has its own.",
                lambda in_channels, out_channels, kernel: (
                    out_channels * in_channels * kernel**2 + 1
                ),
            ),
        ),
    ),
    Exercise(
        "ch04",
        "cross_correlate",
        _cross_correlate,
        cases=_image_cases,
        mistakes=(
            usual(
                "You turn the kernel round before you lay it on, which is the mathematicians' "
                "convolution. Deep learning, and this exercise, take it as it is.",
                lambda image, kernel: _cross_correlate(image, kernel[::-1, ::-1]),
            ),
            usual(
                "Your kernel is transposed: its rows lie along the image's columns.",
                lambda image, kernel: _cross_correlate(image, kernel.T),
            ),
            usual(
                "Only the last weight of the kernel is left in your result: each product is "
                "written over the one before. Add it to what is there.",
                _last_product_alone,
            ),
            usual(
                "Your kernel is turned round in one direction only, upside down or left to right. "
                "Here it is not turned at all.",
                lambda image, kernel: _cross_correlate(image, kernel[::-1]),
                lambda image, kernel: _cross_correlate(image, kernel[:, ::-1]),
            ),
            usual(
                "You keep the places where the kernel hangs over the edge, as if zeros lay around "
                "the image. Take only those where it fits.",
                _padded_cross_correlate,
            ),
        ),
    ),
    Exercise(
        "ch04",
        "convolution_weight_gradient",
        _convolution_weight_gradient,
        cases=_weight_cases,
        mistakes=(
            usual(
                "You average over the batch. The mean is already in the gradient that comes in, so "
                "the examples' parts add up.",
                lambda gradient, images, kernel: (
                    _convolution_weight_gradient(gradient, images, kernel) / len(images)
                ),
            ),
            usual(
                "Only the last image is left in your result: each is written over the one before. "
                "The weights are shared, so what all images want adds up.",
                lambda gradient, images, kernel: _convolution_weight_gradient(
                    gradient[-1:], images[-1:], kernel
                ),
            ),
            usual(
                "Your gradient is turned by half a turn. Forward the kernel is not flipped, so the "
                "gradient of its pixel (r, q) looks at the images shifted by (r, q).",
                lambda gradient, images, kernel: _convolution_weight_gradient(
                    gradient, images, kernel
                )[:, :, ::-1, ::-1],
            ),
            usual(
                "Your first two axes are swapped: as in the weight, output channels come first and "
                "input channels second.",
                lambda gradient, images, kernel: _convolution_weight_gradient(
                    gradient, images, kernel
                ).swapaxes(0, 1),
            ),
            usual(
                "Your rows and columns are swapped: the gradient of each kernel is transposed.",
                lambda gradient, images, kernel: _convolution_weight_gradient(
                    gradient, images, kernel
                ).swapaxes(2, 3),
            ),
        ),
    ),
    Exercise(
        "ch04",
        "convolution_input_gradient",
        _convolution_input_gradient,
        cases=_input_cases,
        mistakes=(
            usual(
                "You lay the kernel on the bordered gradient as it is. Going back, an input pixel "
                "meets the kernel from the other side, so it must be turned by half a turn.",
                lambda gradient, weight: _full(gradient, weight.swapaxes(0, 1)),
            ),
            usual(
                "You turn the kernel in one direction only. Half a turn reverses its rows and its "
                "columns.",
                lambda gradient, weight: _full(gradient, weight[:, :, ::-1].swapaxes(0, 1)),
                lambda gradient, weight: _full(gradient, weight[..., ::-1].swapaxes(0, 1)),
            ),
            usual(
                "You transpose the kernel, so that its rows lie along columns. Going back it is "
                "turned by half a turn: the last row comes first, and in each row the last weight.",
                lambda gradient, weight: _full(gradient, weight.transpose(1, 0, 3, 2)),
                lambda gradient, weight: _convolution_input_gradient(
                    gradient, weight.swapaxes(2, 3)
                ),
            ),
            usual(
                "Where windows overlap you write one over the other. A pixel lies in several of "
                "them, and what they pass back adds up.",
                lambda gradient, weight: _written_over(gradient, weight, "places"),
                lambda gradient, weight: _written_over(gradient, weight, "weights"),
            ),
            usual(
                "You pad the gradient by half a kernel, which keeps a size. A full correlation "
                "visits every place at which the kernel touches the gradient at all.",
                _half_padded,
            ),
            usual(
                "Your result has the size of the gradient. The images were larger: every pixel "
                "that a kernel touched, up to the edge, has a gradient.",
                _cropped,
            ),
            usual(
                "You mix up the channels: the sum runs over output channels, and each input "
                "channel keeps a result of its own.",
                lambda gradient, weight: _full(gradient, weight[:, :, ::-1, ::-1]),
                lambda gradient, weight: _full(gradient, weight),
            ),
        ),
    ),
    Exercise(
        "ch04",
        "max_pool_backward",
        _max_pool_backward,
        cases=_max_pool_cases,
        mistakes=(
            usual(
                "Where several pixels are equally large you give each the whole gradient. Only one "
                "of them was kept: the first in reading order.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "ties"),
            ),
            usual(
                "Where several pixels are equally large you divide the gradient among them. That "
                "is a fair rule, but here the first in reading order gets it all, as in PyTorch.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "split"),
            ),
            usual(
                "You give all pixels of a window an equal share, as average pooling does. Only the "
                "largest pixel had an influence.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "average"),
            ),
            usual(
                "You give every pixel of a window the whole gradient. Only the largest had an "
                "influence; the others would not change the result.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "all"),
            ),
            usual(
                "Where several pixels are equally large you choose the last. We keep the first in "
                "reading order, as PyTorch does.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "last"),
            ),
            usual(
                "Where several pixels are equally large you choose the first in the order of the "
                "columns. Reading order goes along the rows.",
                lambda gradient, images, kernel: _shared_out(gradient, images, kernel, "columns"),
            ),
            usual(
                "Your result ends where the windows end. The rows and columns that are left over "
                "belong to the images too; their gradient is 0.",
                _covered_part,
            ),
        ),
    ),
    Exercise(
        "ch04",
        "average_pool_backward",
        _average_pool_backward,
        cases=lambda generator: [
            (generator.normal(size=shape), kernel)
            for shape, kernel in (((2, 3, 2, 3), 2), ((1, 2, 4, 1), 3), ((3, 1, 2, 2), 4))
        ],
        mistakes=(
            usual(
                "You give every pixel the whole gradient. A mean gives each its share: divide by "
                "the number of pixels in a window.",
                _spread,
            ),
            usual(
                "You divide by the side of the window. It holds as many pixels as its area.",
                lambda gradient, kernel: _spread(gradient, kernel) / kernel,
            ),
            usual(
                "You repeat every entry in one long row and fold that row up again, so that a "
                "window's share does not lie in a square. Repeat along each of the two axes.",
                lambda gradient, kernel: _repeated_in_one_row(gradient, kernel) / kernel**2,
                lambda gradient, kernel: _repeated_in_one_row(gradient, kernel),
            ),
            usual(
                "You lay copies of the whole gradient side by side. Each of its entries belongs to "
                "one window, so it is repeated in place.",
                lambda gradient, kernel: np.tile(gradient, (1, 1, kernel, kernel)) / kernel**2,
                lambda gradient, kernel: np.tile(gradient, (1, 1, kernel, kernel)),
            ),
        ),
    ),
    Exercise(
        "ch04",
        "receptive_field",
        _receptive_field,
        cases=lambda generator: [
            ([(5, 1)],),
            ([(3, 1), (3, 1), (3, 1)],),
            ([(5, 1), (2, 2), (5, 1), (2, 2)],),
            ([(3, 2), (3, 2), (3, 1)],),
            ([(7, 2), (2, 2), (3, 1), (5, 3)],),
        ],
        mistakes=(
            usual(
                "You leave the strides out. After a stride of 2 neighbours are two pixels apart, "
                "so every later kernel reaches twice as far.",
                lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
            ),
            usual(
                "You add the kernels up. The first pixel is shared: a kernel of 3 adds only 2.",
                lambda layers: sum(kernel for kernel, _ in layers),
            ),
            usual(
                "You add whole kernels. One of a kernel's places is there already, so the field "
                "grows by one less.",
                _whole_kernels,
            ),
            usual(
                "You use only the stride of the layer just before. The strides of all layers "
                "before multiply.",
                _only_the_stride_before,
            ),
            usual(
                "You use a layer's own stride for its own kernel. How far apart its inputs lie is "
                "decided by the strides of the layers before it.",
                _with_its_own_stride,
                lambda layers: 1 + sum((kernel - 1) * stride for kernel, stride in layers),
            ),
            usual(
                "You begin at the wrong end: multiplying by the stride as you go is the way from "
                "the last layer back to the first.",
                _from_the_wrong_end,
            ),
        ),
    ),
)

"""The drawing pad: one source for pages and notebooks, linked by `linking`."""

from mnist_lab.lessons.widgets.digit_pad import DigitPad

__all__ = ["DigitPad"]

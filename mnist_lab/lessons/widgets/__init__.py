"""The drawing pad and the panels, for pages and notebooks from one source (`linking`)."""

from mnist_lab.lessons.widgets.digit_attention import DigitAttention
from mnist_lab.lessons.widgets.digit_pad import DigitPad
from mnist_lab.lessons.widgets.step_here import StepHere
from mnist_lab.lessons.widgets.train_here import TrainHere

__all__ = ["DigitAttention", "DigitPad", "StepHere", "TrainHere"]

"""The drawing pad and the panels to learn on, for pages and notebooks from one source."""

from mnist_lab.lessons.widgets.digit_pad import DigitPad
from mnist_lab.lessons.widgets.step_here import StepHere
from mnist_lab.lessons.widgets.train_here import TrainHere

__all__ = ["DigitPad", "StepHere", "TrainHere"]

"""Distillation: a network learns what larger ones answer, and not only the labels.

    teacher = Ensemble([one, two, three])
    fit("small_cnn", train, config=config, objective=learn_from(teacher))

The loss is that of `finetuning.ClassifyAndRemember`: cross-entropy with the labels, and with the
teacher's answers, softened by a temperature.

Source: Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnist_lab.finetuning.remembering import ClassifyAndRemember


class Ensemble(nn.Module):
    """Several networks as one: its probabilities are the mean of theirs.

    Parameters
    ----------
    members : sequence of nn.Module
        Each returns logits (n, classes) of the same images.

    Raises
    ------
    ValueError
        If there is none.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("An ensemble needs a member.")
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes): the logarithms of the mean probabilities."""
        answers = torch.stack([member(images).log_softmax(1) for member in self.members])
        return answers.logsumexp(0) - torch.tensor(float(len(self.members))).log()


def learn_from(
    teacher: nn.Module, weight: float = 1.0, temperature: float = 2.0
) -> ClassifyAndRemember:
    """Return the objective of a student: to classify, and to answer as the teacher does.

    Parameters
    ----------
    teacher : nn.Module
        It takes the student's images and stays as it is.
    weight : float
        Of the teacher's answers, where the labels weigh 1.
    temperature : float
        What both one's logits are divided by, above 0.
    """
    return ClassifyAndRemember(teacher, weight, temperature)

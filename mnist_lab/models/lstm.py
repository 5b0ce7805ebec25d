"""A recurrent network that reads an image row by row (chapter 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mnist_lab.models.basic import CLASSES


class LSTM(nn.Module):
    """A long short-term memory that reads the image row by row, from top to bottom (chapter 9).

    The logits come from the hidden state after the last row. Its forget gates start open: with the
    usual bias of 0 they would halve the memory at every row (Jozefowicz et al. 2015).
    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Parameters
    ----------
    width : int
        Numbers in the state. With 128 there are 82,186 parameters.
    """

    def __init__(self, width: int = 128, classes: int = CLASSES) -> None:
        super().__init__()
        self.rows = nn.LSTM(28, width, batch_first=True)
        self.output = nn.Linear(width, classes)
        with torch.no_grad():
            # PyTorch adds two biases; in each the second quarter is the forget gate's.
            self.rows.get_parameter("bias_ih_l0")[width : 2 * width] += 1.0

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) of images (n, 1, 28, 28)."""
        states, _ = self.rows(images.squeeze(1))  # (n, 28, width)
        return self.output(states[:, -1])

    def read_rows(self, images: Tensor) -> Tensor:
        """Return the logits after every row, (n, 28, classes): the opinion while it reads."""
        states, _ = self.rows(images.squeeze(1))
        return self.output(states)

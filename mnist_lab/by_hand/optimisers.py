"""Optimisers by hand: from gradients to a step, as torch.optim takes it (chapters 3 and 4).

    optimizer = SGD(network, learning_rate=0.1, momentum=0.9)
    network.backward(loss.backward())
    optimizer.step()

Both change the arrays of `network.parameters` in place, by what the last `backward` has left in
`network.gradients`.
"""

from __future__ import annotations

import numpy as np

from mnist_lab.by_hand.layers import Layer


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

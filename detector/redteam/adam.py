"""Adam: the steps by which the models of the red team learn."""

from collections.abc import Iterable, Sequence

import numpy as np

from detector.redteam.conversation import Array

__all__ = ["Adam"]


class Adam:
    """Adam (Kingma & Ba, ICLR 2015, algorithm 1) over `parameters`, which it changes in place.

    With `steps` the step size falls linearly from `rate` to zero over so many steps. `decay` draws parameters towards zero,
    apart from their gradients (Loshchilov & Hutter, ICLR 2019).
    """

    def __init__(self, parameters: Sequence[Array], rate: float, *, steps: int | None = None, decay: float = 0.0) -> None:
        """Start without momentum."""
        self.parameters = list(parameters)
        self._rate = rate
        self._steps = steps
        self._decay = decay
        self._taken = 0
        self._mean = [np.zeros_like(part) for part in self.parameters]
        self._square = [np.zeros_like(part) for part in self.parameters]

    def step(self, gradients: Iterable[Array]) -> None:
        """Move each parameter against its gradient."""
        self._taken += 1
        left = 1.0 if self._steps is None else 1.0 - self._taken / (self._steps + 1)
        size = self._rate * left * np.sqrt(1.0 - 0.999**self._taken) / (1.0 - 0.9**self._taken)
        for part, slope, mean, square in zip(self.parameters, gradients, self._mean, self._square, strict=True):
            mean[...] += 0.1 * (slope - mean)
            square[...] += 0.001 * (slope**2 - square)
            part[...] -= size * mean / (np.sqrt(square) + 1e-8) + self._rate * self._decay * part

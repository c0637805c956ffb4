"""When queries come: endless gaps between one query and the next, in seconds.

Every process is given the mean gap, so that the same client can be played slow or fast. None is evidence by itself:
a nightly job is as regular as a thief's script, and features of timing that separate synthetic traffic turned out
inverted on real logs. They are here so that timing does *not* give an attack away.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np


def steady(rng: np.random.Generator, mean: float, jitter: float = 0.2) -> Iterator[float]:
    """A polling client: one period after another, each off by up to `jitter` of itself, uniformly.

    Jittered polling is what clients are advised to do against synchronised load (Floyd & Jacobson, IEEE/ACM Transactions
    on Networking 2(2), 1994).
    """
    while True:
        yield mean * (1.0 + jitter * rng.uniform(-1.0, 1.0))


def poisson(rng: np.random.Generator, mean: float) -> Iterator[float]:
    """Independent exponential gaps: many people behind one key.

    Right for the starts of human sessions, wrong for what happens within one (Paxson & Floyd, IEEE/ACM Transactions on
    Networking 3(3), 1995); see `bursty` for that.
    """
    while True:
        yield float(rng.exponential(mean))


def bursty(rng: np.random.Generator, mean: float, burst: float = 12.0, tail: float = 1.5) -> Iterator[float]:
    """On and off: runs of `burst` queries on average, a tenth of the mean gap apart, and pauses from a Pareto law.

    Pauses of infinite variance (`tail` between 1 and 2) are what makes aggregated traffic self-similar (Willinger,
    Taqqu, Sherman, Wilson, IEEE/ACM Transactions on Networking 5(1), 1997). The mean gap is as asked, but with such a
    tail a sample approaches it slowly. Raises ValueError, at the first gap, unless `burst` >= 1 and `tail` > 1.
    """
    if burst < 1.0 or tail <= 1.0:
        raise ValueError("bursty arrivals need burst >= 1 and tail > 1")
    inside = 0.1 * mean
    shortest = (burst * mean - (burst - 1.0) * inside) * (tail - 1.0) / tail
    while True:
        for _ in range(int(rng.geometric(1.0 / burst)) - 1):
            yield float(rng.exponential(inside))
        yield float(shortest * (1.0 + rng.pareto(tail)))


def clockwork(rng: np.random.Generator, mean: float) -> Iterator[float]:
    """The same gap for ever: a script with a sleep in it, hostile or not. Draws nothing from `rng`."""
    del rng
    while True:
        yield mean


ARRIVALS: Mapping[str, Callable[[np.random.Generator, float], Iterator[float]]] = MappingProxyType(
    {"steady": steady, "poisson": poisson, "bursty": bursty, "clockwork": clockwork}
)
"""Arrival processes by permanent id, each called with a generator of random numbers and the mean gap in seconds."""

"""A small sequential recommender: a factorised Markov chain of the last few items, in numpy.

The next item's score is the inner product of its own vector with a weighted sum of the vectors of the last `WINDOW` items, one
learned weight a place, as in He and McAuley, "Fusing similarity models with Markov chains" (ICDM 2016), without its term for
the user: who asks an interface is not known to it by name. It is trained by the softmax over the whole catalogue, which is
exact and fast for some hundred items, and too slow for a million. Both the victim and the thief's copy are such models; a thief
who knows the architecture is the strongest one.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.redteam.adam import Adam
from detector.redteam.network import softmax
from detector.redteam.rankings.users import WINDOW, Histories, History, padded

__all__ = ["SHOWN", "Recommender", "examples", "fitted", "trained"]

SHOWN: Final = 10
"""Items that are told."""

Array = npt.NDArray[np.float64]

_BATCH: Final = 256
_RATE: Final = 0.02
_DECAY: Final = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Recommender:
    """`read` (items, d) vectors of items that were looked at, `places` (`WINDOW`,), `told` (items, d) and `bias` (items,)."""

    read: Array
    places: Array
    told: Array
    bias: Array

    @property
    def parts(self) -> list[Array]:
        """What it learns."""
        return [self.read, self.places, self.told, self.bias]

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.told)

    def scores(self, windows: Histories) -> Array:
        """Return the score of each item after each window, (n, items); what is in the window is never told: minus infinity."""
        logits = self.spread(windows) @ self.read @ self.told.T + self.bias
        return np.where(seen(windows, self.items), -np.inf, logits)

    def spread(self, windows: Histories) -> Array:
        """Return the weight of each item in each window, (n, items): a place's weight where the item stands there."""
        weights = np.zeros((len(windows), self.items + 1))
        rows = np.arange(len(windows))
        for place, weight in enumerate(self.places):
            weights[rows, windows[:, place]] += weight
        return weights[:, :-1]

    def rankings(self, windows: Histories, shown: int = SHOWN) -> Histories:
        """Return the best items after each window, (n, shown), the best first; of equal scores the lower number."""
        return np.argsort(-self.scores(windows), axis=1, kind="stable")[:, :shown]

    def after(self, history: History, shown: int = SHOWN) -> History:
        """Return the best items after one history."""
        return tuple(self.rankings(padded([history], self.items), shown)[0].tolist())


def seen(windows: Histories, items: int) -> npt.NDArray[np.bool_]:
    """Tell which items stand in each window, (n, items)."""
    marks = np.zeros((len(windows), items + 1), bool)
    marks[np.arange(len(windows))[:, None], windows] = True
    return marks[:, :-1]


def blank(items: int, rng: np.random.Generator, size: int = 16) -> Recommender:
    """Return a model that has learned nothing: small vectors, and later places of the history weigh less."""
    return Recommender(
        rng.normal(0.0, 0.1, (items, size)),
        1.0 / np.arange(1.0, WINDOW + 1.0),
        rng.normal(0.0, 0.1, (items, size)),
        np.zeros(items),
    )


def gradients(model: Recommender, windows: Histories, wanted: Array) -> Recommender:
    """Return the gradients of a loss by the parts of a model, given that by the scores: `wanted` (n, items)."""
    spread = model.spread(windows)
    user = spread @ model.read
    by_user = wanted @ model.told
    with_none = np.vstack([model.read, np.zeros(model.read.shape[1])])
    return Recommender(
        spread.T @ by_user,
        np.array([float((by_user * with_none[windows[:, place]]).sum()) for place in range(WINDOW)]),
        wanted.T @ user,
        wanted.sum(axis=0),
    )


def adam(model: Recommender) -> Adam:
    """Return what a model learns by, in place."""
    return Adam(model.parts, _RATE, decay=_DECAY)


def batches(rows: int, steps: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return the rows of each step: pass after pass over all of them, in an order drawn anew."""
    size = min(rows, _BATCH)
    passes = -(-steps * size // max(rows, 1))
    order = np.concatenate([rng.permutation(rows) for _ in range(passes)]) if rows else np.empty(0, np.int64)
    return [order[start : start + size] for start in range(0, steps * size, size)]


def fitted(windows: Histories, targets: Array, seed: int, steps: int = 900) -> Recommender:
    """Train a model whose probabilities come near `targets` (n, items), each row summing to 1, by cross-entropy.

    Raises ValueError without a row.
    """
    if not len(windows):
        raise ValueError("there is no history to learn from")
    rng = np.random.default_rng([seed, 1])
    model = blank(targets.shape[1], rng)
    optimiser = adam(model)
    for rows in batches(len(windows), steps, rng):
        chances = softmax(model.scores(windows[rows]))
        optimiser.step(gradients(model, windows[rows], (chances - targets[rows]) / len(rows)).parts)
    return model


def examples(walks: list[History], items: int) -> tuple[Histories, npt.NDArray[np.int64]]:
    """Return every window of the walks, and the item that came next: what a recommender learns from."""
    pairs = [(walk[:end], walk[end]) for walk in walks for end in range(1, len(walk))]
    return padded([history for history, _ in pairs], items), np.array([item for _, item in pairs], np.int64)


def trained(walks: list[History], items: int, seed: int, steps: int = 900) -> Recommender:
    """Train the victim on what users looked at."""
    windows, following = examples(walks, items)
    rng = np.random.default_rng([seed, 1])
    model = blank(items, rng)
    optimiser = adam(model)
    for rows in batches(len(windows), steps, rng):
        wanted = softmax(model.scores(windows[rows]))
        wanted[np.arange(len(rows)), following[rows]] -= 1.0
        optimiser.step(gradients(model, windows[rows], wanted / len(rows)).parts)
    return model

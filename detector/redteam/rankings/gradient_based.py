"""Gradient-based ranking optimisation: a recommender trained so that a copy of it learns badly.

Zhang, Yin, Chen and Long, "Defense against model extraction attacks on recommender systems" (WSDM 2024, arXiv 2310.16335),
section 4, in numpy and on the small recommender of this room. In each step a student learns from the model's rankings as a
thief would (the margin losses of Yue et al., RecSys 2021). A ranking is a swap matrix A, (places, items), and the student's
loss depends on A through A s, with s the student's scores; its gradient by A says which item in which place would hurt the
student most. The model is trained on what users looked at, and besides to score that item above the one that stands there now,
by `strength`.

The gradient by A is g s^T with g the gradient by the places. So its largest entry is the item that the student likes most
where g is positive, and the one that it likes least where g is negative: the paper's argmax needs no matrix at all.

Not of the paper: the student is of the same architecture as the model, since there is one here.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from detector.redteam.network import softmax
from detector.redteam.rankings.recommender import SHOWN, Recommender, adam, batches, blank, examples, gradients, seen
from detector.redteam.rankings.users import Histories, History

__all__ = ["hardened"]

_MARGIN: Final = 0.5  # of both losses, as in the authors' code
_STEPS: Final = 200

Array = npt.NDArray[np.float64]


def hardened(model: Recommender, walks: list[History], strength: float, seed: int, steps: int = _STEPS) -> Recommender:
    """Return a model trained further from `model` on the walks of users, against a student of its own.

    `strength` is the weight of the swap loss; 0 trains on and defends nothing. Raises ValueError where it is negative.
    """
    if strength < 0.0:
        raise ValueError("the strength is a weight, 0 or more")
    rng = np.random.default_rng([seed, 2])
    windows, following = examples(walks, model.items)
    guarded = Recommender(model.read.copy(), model.places.copy(), model.told.copy(), model.bias.copy())
    student = blank(model.items, rng)
    guard, learner = adam(guarded), adam(student)
    for rows in batches(len(windows), steps, rng):
        scores = guarded.scores(windows[rows])
        wanted = softmax(scores)
        wanted[np.arange(len(rows)), following[rows]] -= 1.0
        ranking = np.argsort(-scores, axis=1, kind="stable")[:, :SHOWN]
        liked = np.where(seen(windows[rows], model.items), np.nan, student.scores(windows[rows]))
        by_place, by_score = student_slopes(liked, ranking, rng)
        wanted += strength * swap_slopes(scores, ranking, hurting(liked, by_place)) * len(rows)
        guard.step(gradients(guarded, windows[rows], wanted / len(rows)).parts)
        learner.step(gradients(student, windows[rows], by_score).parts)
    return guarded


def student_slopes(liked: Array, ranking: Histories, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the slopes of the student's loss by the places (n, shown) and by its scores (n, items).

    The loss is the mean over neighbouring places of how far the upper one is less than a margin ahead, and the same of each
    place against an item drawn from those outside of the list. NaN in `liked` (n, items) is an item that cannot be told.
    """
    rows = np.arange(len(liked))[:, None]
    outside = np.isfinite(liked)
    outside[rows, ranking] = False
    lots = np.where(outside, rng.random(liked.shape), -1.0)
    others = np.argsort(-lots, axis=1)[:, : ranking.shape[1]]
    placed, other = liked[rows, ranking], liked[rows, others]
    neighbours = (placed[:, :-1] - placed[:, 1:] < _MARGIN) / max(placed[:, 1:].size, 1)
    against = (placed - other < _MARGIN) / placed.size
    by_place = -against
    by_place[:, :-1] -= neighbours
    by_place[:, 1:] += neighbours
    by_score = np.zeros_like(liked)
    np.add.at(by_score, (rows, ranking), by_place)
    np.add.at(by_score, (rows, others), against)
    return by_place, by_score


def hurting(liked: Array, by_place: Array) -> Histories:
    """Return the item whose place in the list would raise the student's loss most, (n, shown); -1 where none would.

    >>> hurting(np.array([[0.5, -2.0, 3.0]]), np.array([[-1.0, 0.0, 1.0]])).tolist()
    [[1, -1, 2]]
    """
    most, least = np.nanargmax(liked, axis=1)[:, None], np.nanargmin(liked, axis=1)[:, None]
    return np.where(by_place > 0.0, most, np.where(by_place < 0.0, least, -1))


def swap_slopes(scores: Array, ranking: Histories, better: Histories) -> Array:
    """Return the slopes of the swap loss by the scores (n, items): the mean of how far each item told is ahead of `better`."""
    rows = np.arange(len(scores))[:, None]
    ahead = (better >= 0) & (scores[rows, ranking] > scores[rows, better])
    slopes = np.zeros_like(scores)
    share = ahead / ranking.size
    np.add.at(slopes, (rows, ranking), share)
    np.add.at(slopes, (rows, better), -share)
    return slopes

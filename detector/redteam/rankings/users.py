"""Simulated users of a shop: who looks at which items, in which order.

Items belong to genres, and some are looked at far more often than others (a Zipf law). A user has a taste for a few genres and
stays in one for a while; every item has a few others that often follow it. This is structure that a recommender can learn, and
no more than that: it stands for no real shop, and figures on it say how attacks and defences compare, not what yours would be.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["WINDOW", "Histories", "History", "Shop", "padded"]

WINDOW: Final = 8
"""Items of a history that the model reads, the latest ones."""

_FOLLOWERS: Final = 5
_FOLLOW, _STAY = 0.35, 0.3  # the chance that an item follows the last one, and that it is another one of the genre
_TASTES: Final = 0.15  # of the Dirichlet law: a few genres a user

History: TypeAlias = tuple[int, ...]
"""Items from 0, the oldest first."""
Histories: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """A catalogue: the `genre` (items,) of each item, how often it is looked at, and which ones follow it (items, few).

    `shelves` are the sums of popularity over the items, for each genre and last for all: an item is drawn by them.
    """

    genre: npt.NDArray[np.int64]
    popularity: npt.NDArray[np.float64]
    followers: npt.NDArray[np.int64]
    shelves: tuple[npt.NDArray[np.float64], ...]

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.genre)

    @classmethod
    def open(cls, seed: int, items: int = 300, genres: int = 12) -> "Shop":
        """Return a shop; the same seed gives the same one. Raises ValueError for fewer than 4 items a genre or than 20 in all.

        >>> Shop.open(0).followers.shape
        (300, 5)
        """
        if genres < 1 or items < max(4 * genres, 20):
            raise ValueError(f"{items} items are too few for {genres} genres")
        rng = np.random.default_rng([seed, 0])
        genre = np.arange(items) % genres
        popularity = rng.permutation(1.0 / np.arange(1, items + 1) ** 0.8)
        followers = np.stack([_followers(item, genre, rng) for item in range(items)])
        shelves = [np.cumsum(np.where(genre == one, popularity, 0.0)) for one in range(genres)]
        return cls(genre, popularity / popularity.sum(), followers, (*shelves, np.cumsum(popularity)))

    def walks(self, users: int, length: int, rng: np.random.Generator) -> list[History]:
        """Return what so many new users look at; no item comes twice within a window of `WINDOW` + 1."""
        return [self._walk(length, rng) for _ in range(users)]

    def _walk(self, length: int, rng: np.random.Generator) -> History:
        genres = len(self.shelves) - 1
        taste = np.cumsum(rng.dirichlet(np.full(genres, _TASTES)))
        genre = _drawn(taste, rng)
        items: list[int] = []
        while len(items) < length:
            chance = rng.random()
            if items and chance < _FOLLOW:
                place = min(int(rng.geometric(0.45)), _FOLLOWERS) - 1
                item = int(self.followers[items[-1], place])
                genre = int(self.genre[item])
            else:
                if chance >= _FOLLOW + _STAY:
                    genre = _drawn(taste, rng)
                item = _drawn(self.shelves[genre], rng)
            while item in items[-WINDOW:]:
                item = _drawn(self.shelves[-1], rng)
            items.append(item)
        return tuple(items)


def _drawn(sums: npt.NDArray[np.float64], rng: np.random.Generator) -> int:
    """Draw a place by the running sums of weights; its own weight is above 0."""
    return int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))


def _followers(item: int, genre: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Items that follow one: three of its genre, two of any."""
    same = np.flatnonzero((genre == genre[item]) & (np.arange(len(genre)) != item))
    near = rng.choice(same, size=3, replace=False)
    others = np.setdiff1d(np.arange(len(genre)), [item, *near])
    return np.asarray(rng.permutation([*near, *rng.choice(others, size=_FOLLOWERS - 3, replace=False)]))


def padded(histories: list[History], items: int) -> Histories:
    """Return the windows of histories as (n, `WINDOW`), the latest item first, places without an item holding `items`.

    >>> padded([(4, 7), ()], items=9)[:, :3].tolist()
    [[7, 4, 9], [9, 9, 9]]
    """
    windows = np.full((len(histories), WINDOW), items, np.int64)
    for row, history in enumerate(histories):
        latest = history[: -WINDOW - 1 : -1]
        windows[row, : len(latest)] = latest
    return windows

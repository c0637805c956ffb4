"""What a recommender may tell instead of its ten best items.

`first` tells fewer. `swapped` keeps the first places and exchanges some of the others with the items just below the list. Which
ones is drawn by a secret and the coarse list (the items of the first places, in whatever order): the same question, and every
question that is answered alike, gets the same swaps, so that asking again averages nothing out.

Blind to: a thief who learns the swaps. They depend on few items, and who asks about many histories with the same first places
sees the items behind them come and go no more than one set of swaps.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from detector.redteam.rankings.recommender import SHOWN, Recommender
from detector.redteam.rankings.users import Histories

__all__ = ["KEPT", "Tell", "first", "swapped"]

Tell: TypeAlias = Callable[[Recommender, Histories], Histories]
"""What is told after windows (n, `WINDOW`): rankings (n, shown)."""

KEPT: Final = 3
"""First places that are told as they are."""
_EXCHANGED: Final = 4  # of the seven places below them


def first(shown: int) -> Tell:
    """Tell the best `shown` items only."""

    def tell(model: Recommender, windows: Histories) -> Histories:
        return model.rankings(windows, shown)

    return tell


def swapped(secret: bytes, kept: int = KEPT, exchanged: int = _EXCHANGED) -> Tell:
    """Exchange so many places below the first `kept` with as many of the ten items below the list.

    Raises ValueError without a secret, or where fewer places are below the first ones than shall be exchanged.
    """
    if not secret:
        raise ValueError("swaps without a secret can be undone by anybody")
    if not 0 < exchanged <= SHOWN - kept:
        raise ValueError(f"{exchanged} of {SHOWN - kept} places cannot be exchanged")

    def tell(model: Recommender, windows: Histories) -> Histories:
        told = model.rankings(windows, 2 * SHOWN)
        for ranking in told:
            rng = _drawn(secret, ranking[:kept])
            above = rng.permutation(np.arange(kept, SHOWN))[:exchanged]
            below = rng.permutation(np.arange(SHOWN, len(ranking)))[:exchanged]
            ranking[above[: len(below)]] = ranking[below]
        return told[:, :SHOWN]

    return tell


def _drawn(secret: bytes, coarse: Histories) -> np.random.Generator:
    named = ",".join(map(str, sorted(coarse.tolist()))).encode()
    return np.random.default_rng(int.from_bytes(hmac.digest(secret, named, hashlib.sha256)[:16], "big"))

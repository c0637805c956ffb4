"""Co-occurrence: which values of a table's columns the population shows together, for the channel `cooccur`.

`fitting.cooccurrence` describes how it is learned and what a count of clashes is worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.cooccur import BINS, COUNTS

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Cooccurrence:
    """Which values belong together: k columns and p pairs of them, none where the channel is silent.

    `columns` (k,) are raw columns. `coded` (k,) tells which hold codes. `edges` (k, BINS - 1) are their codes or the bounds of
    their bins, and `share` (k, BINS) is how common each bin is. `pairs` (p, 2) are places in `columns`. `table` (p, BINS, BINS)
    are the logarithms of how often two bins occur together, relative to independence. `worth` (COUNTS,) is the likelihood ratio
    of each count of clashes. Records that differ in up to `edited` columns count as edited copies; it is -1 where chance makes
    unrelated records so similar. `mixes` tells whether records made of two others can be told from chance. `usual` is the share
    of the made-up records' clashes in which the most frequent column has a part.
    """

    columns: npt.NDArray[np.int32]
    coded: Flags
    edges: Floats
    share: Floats
    pairs: npt.NDArray[np.int32]
    table: Floats
    worth: Floats
    edited: int
    mixes: bool
    usual: float

    @property
    def silent(self) -> bool:
        """Whether there is nothing to score with."""
        return len(self.pairs) == 0


def nothing_known() -> Cooccurrence:
    """Return the co-occurrence of pictures, or of a table with too little data."""
    return Cooccurrence(
        columns=np.zeros(0, np.int32),
        coded=np.zeros(0, np.bool_),
        edges=np.zeros((0, BINS - 1), np.float32),
        share=np.zeros((0, BINS), np.float32),
        pairs=np.zeros((0, 2), np.int32),
        table=np.zeros((0, BINS, BINS), np.float32),
        worth=np.ones(COUNTS, np.float32),
        edited=-1,
        mixes=False,
        usual=1.0,
    )


def to_arrays(known: Cooccurrence) -> dict[str, npt.NDArray[Any]]:
    """Return it as named arrays, for ``numpy.savez``."""
    return {field.name: np.asarray(getattr(known, field.name)) for field in fields(known)}


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Cooccurrence:
    """Rebuild it from `to_arrays`.

    Raises KeyError when an array is missing.
    """
    parts: dict[str, Any] = {field.name: arrays[field.name] for field in fields(Cooccurrence)}
    return Cooccurrence(**parts | {name: parts[name].item() for name in ("edited", "mixes", "usual")})

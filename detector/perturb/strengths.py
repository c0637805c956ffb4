"""How strong the tilt of a key is: as strong as changes a committed share of the labels, and the same share for every key.

Under one strength for all, keys differ: some change no label that a copy could learn, others twice what was agreed. So each key
has its own, measured on inputs that were committed to. Whoever tests a suspect gives counterfeit keys theirs in the same way.
"""

import io
import zipfile
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.perturb.tilt import Frame, Tilts, logits_of, pulls

__all__ = ["Gauge", "Strengths"]

BELOW: Final = 0.999  # of the strength at which one label too many would change
CHUNK: Final = 4_000_000  # numbers that are held at a time

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """Inputs X (k, d) and the model's answers to them (k, classes): of a sample those that it is least certain about.

    `changes` is how many of their labels a tilt may change. What clients asked is in it, so it stays with the owner.
    """

    X: npt.NDArray[np.float32]
    said: npt.NDArray[np.float32]
    changes: int

    def to_bytes(self) -> bytes:
        """Return the file."""
        file = io.BytesIO()
        np.savez(file, X=self.X, said=self.said, changes=np.int64(self.changes))
        return file.getvalue()

    @classmethod
    def of(cls, raw: bytes, dimension: int, classes: int) -> "Gauge":
        """Read the file. Raises `ValueError` where it is none for inputs and answers of these lengths."""
        try:
            with np.load(io.BytesIO(raw), allow_pickle=False) as file:
                X, said, changes = (np.asarray(file[name]) for name in ("X", "said", "changes"))
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(str(error)) from None
        if X.dtype != np.float32 or said.dtype != np.float32 or changes.dtype != np.int64 or changes.shape:
            raise ValueError("it holds other kinds of numbers")
        if X.ndim != 2 or X.shape != (len(X), dimension) or said.shape != (len(X), classes) or not len(X):
            raise ValueError(f"it is of inputs {X.shape} and answers {said.shape}")
        if not np.isfinite(said).all() or said.min() < 0.0 or not 0 <= int(changes) < len(X):
            raise ValueError("its answers are no probabilities, or all of them may change")
        return cls(X, said, int(changes))


@dataclass(frozen=True, slots=True, eq=False)
class Strengths:
    """How strong the tilts of keys are: all of them `most`, or, by a gauge, each as strong as it says and `most` at most."""

    frame: Frame
    most: float
    gauge: Gauge | None = None

    def of(self, tilts: Tilts) -> _Array:
        """Return the strength of each of m keys (m,)."""
        keys = len(tilts.phases)
        if self.gauge is None:
            return np.full(keys, self.most)
        placed, logits = self.frame.placed(self.gauge.X), logits_of(self.gauge.said.astype(np.float64))
        step = max(1, CHUNK // max(1, logits.size))
        parts = [self._measured(Tilts(*(one[at : at + step] for one in tilts)), placed, logits) for at in range(0, keys, step)]
        return np.concatenate(parts) if parts else np.empty(0)

    def _measured(self, tilts: Tilts, placed: _Array, logits: _Array) -> _Array:
        assert self.gauge is not None  # noqa: S101  # as `of` asked
        pull = pulls(tilts, placed)
        rows, own = np.arange(len(logits)), logits.argmax(axis=1)
        gap = logits[rows, own][:, None] - logits
        lean = pull - pull[:, rows, own][:, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(lean > 0.0, gap / lean, np.inf).min(axis=2)  # (m, k): the strength that changes a label
        first = np.partition(needed, self.gauge.changes, axis=1)[:, self.gauge.changes]
        return np.minimum(first * BELOW, self.most)

"""Texts -> vectors by a model of the operator's own: ``[inputs] encoder`` names a function of a module that can be imported.

The function gets a list of texts and returns a matrix of shape (n, d), a row a text. Nothing is downloaded here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.contracts.event import FLOAT32_BOUND
from detector.errors import ConfigError
from detector.ingest.formats.event import UnusableError

__all__ = ["TextEncoder"]

_MOST: Final = 8192  # numbers of a text
_TRIED: Final = "a text to try the encoder with"
_SHOWN: Final = 100  # characters of what an encoder says of its failure


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """The operator's encoder: `name` is ``module:function``, and each text becomes `dimension` numbers."""

    name: str
    dimension: int
    encode: Callable[[list[str]], Any]

    @classmethod
    def named(cls, name: str) -> "TextEncoder":
        """Import an encoder and try it with one text.

        Raises `ConfigError` where it cannot be imported, fails, or does not return a matrix of finite numbers.
        """
        module, _, function = name.partition(":")
        try:
            encode = getattr(import_module(module), function)
        except Exception as error:  # importing runs whatever the module says
            raise ConfigError(f"[inputs] encoder {name!r} cannot be imported: {type(error).__name__}: {error}") from error
        if not callable(encode):
            raise ConfigError(f"[inputs] encoder {name!r} is no function")
        try:
            rows = _matrix(encode([_TRIED]), 1)
        except Exception as error:  # as for the import
            raise ConfigError(f"[inputs] encoder {name!r} failed for one text: {type(error).__name__}: {error}") from error
        return cls(name, rows.shape[1], encode)

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the numbers of texts; raises `UnusableError` where the encoder fails or returns anything else."""
        try:
            rows = _matrix(self.encode(list(texts)), len(texts))
        except Exception as error:  # whatever goes wrong there, the stream goes on
            said = f"{type(error).__name__}: {error}"[:_SHOWN]
            raise UnusableError("schema", f"input: the encoder {self.name} failed: {said}") from error
        if rows.shape[1] != self.dimension:
            raise UnusableError(
                "schema", f"input: the encoder {self.name} returned {rows.shape[1]} numbers a text, before {self.dimension}"
            )
        found: list[list[float]] = rows.tolist()
        return found


def _matrix(returned: Any, texts: int) -> npt.NDArray[np.float64]:
    rows = np.asarray(returned, np.float64)
    if rows.ndim != 2 or rows.shape[0] != texts or not 1 <= rows.shape[1] <= _MOST:
        raise ValueError(f"returned an array of shape {rows.shape}, expected ({texts}, d) with d from 1 to {_MOST}")
    if not (np.abs(rows) < FLOAT32_BOUND).all():  # false for NaN, too
        raise ValueError("returned numbers that are not finite in float32")
    return rows

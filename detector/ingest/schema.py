"""What a model's inputs and answers consist of: names in order, the kind of each, and what the baseline learned of them.

A schema is declared by ``[models."<id>".columns]``, or learned by `detector baseline fit` (see `learning`) and kept in the
baseline, so that live events are encoded as those that the baseline was fitted on.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.config.detection import Kind
from detector.ingest.formats.reduction import PARTS, TextReduction
from detector.ingest.formats.texts import TEXT_DIMENSION
from detector.ingest.values import hashed_code

__all__ = ["UNKNOWN", "WHOLE", "InputSchema"]

UNKNOWN: Final = 0.0
"""The code of all categories that the baseline does not know; those that it knows count from 1."""

WHOLE: Final = ""
"""Stands for the column of an input that is nothing but a text."""

_WIDTHS: Final[Mapping[Kind, int]] = {"number": 1, "category": 1, "text": TEXT_DIMENSION, "time": 1, "ignore": 0}
_JSON: Final = "schema"
_TEXT: Final = "schema.text"


@dataclass(frozen=True, slots=True)
class InputSchema:
    """The columns of a model's inputs: `names` in order, the kind of each, and `codes` of the categories by column.

    A column of categories without codes, which only configuration declares, takes a hashed code for each text. `reductions`
    are the spaces of texts by column, `WHOLE` for inputs that are nothing but a text. Without names the inputs are plain
    vectors, or such texts. `encoder` names the model that makes vectors of texts instead, of `embedded` numbers each. `edges`
    part the answers of a regression into bins.

    >>> schema = InputSchema(("amount", "note", "country"), ("number", "ignore", "category"), {"country": {"FR": 1}})
    >>> schema.dimension, schema.categorical, schema.code("country", "FR"), schema.code("country", "atlantis")
    (2, (1,), 1.0, 0.0)
    """

    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reductions: Mapping[str, TextReduction] = field(default_factory=dict)
    edges: tuple[float, ...] = ()
    encoder: str | None = None
    embedded: int = 0

    @property
    def dimension(self) -> int:
        """How many numbers an input by name becomes: one a column, several for a text, none for what is ignored."""
        return sum(self._widths())

    @property
    def categorical(self) -> tuple[int, ...]:
        """The places of the codes in the vector."""
        starts = accumulate(self._widths(), initial=0)
        return tuple(start for start, kind in zip(starts, self.kinds, strict=False) if kind == "category")

    def text_width(self, name: str) -> int:
        """Return how many numbers a text in a column becomes."""
        reduction = self.reductions.get(name)
        return self.embedded or (TEXT_DIMENSION if reduction is None else reduction.dimension)

    def _widths(self) -> Iterator[int]:
        for name, kind in zip(self.names, self.kinds, strict=True):
            yield self.text_width(name) if kind == "text" else _WIDTHS[kind]

    def code(self, name: str, text: str) -> float:
        """Return the code of a category, `UNKNOWN` for one that the baseline does not know."""
        known = self.codes.get(name)
        return hashed_code(text) if known is None else float(known.get(text.strip(), UNKNOWN))

    def bin_of(self, value: float) -> int:
        """Return the bin of a predicted number, counted from 0."""
        return bisect_right(self.edges, value)

    def same_columns(self, other: "InputSchema") -> bool:
        """Say whether both have the same columns of the same kinds in the same order; what was learned of them may differ."""
        return (self.names, self.kinds) == (other.names, other.kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON has it, but for the spaces of texts."""
        learned: dict[str, Any] = {
            "texts": list(self.reductions),
            "edges": list(self.edges),
            "encoder": self.encoder,
            "embedded": self.embedded,
        }
        return {
            "columns": [list(pair) for pair in zip(self.names, self.kinds, strict=True)],
            "codes": {name: dict(known) for name, known in self.codes.items()},
            **{name: value for name, value in learned.items() if value},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "InputSchema":
        """Read what `to_dict` wrote."""
        columns = document["columns"]
        return cls(
            tuple(name for name, _ in columns),
            tuple(kind for _, kind in columns),
            document["codes"],
            edges=tuple(float(edge) for edge in document.get("edges", ())),
            encoder=document.get("encoder"),
            embedded=int(document.get("embedded", 0)),
        )

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything as arrays, as a baseline keeps it."""
        return {
            _JSON: np.frombuffer(json.dumps(self.to_dict()).encode(), np.uint8),
            **{
                f"{_TEXT}.{at}.{name}": array
                for at, reduction in enumerate(self.reductions.values())
                for name, array in reduction.to_arrays().items()
            },
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "InputSchema | None":
        """Read what `to_arrays` wrote, None where it is not there; raises an error of its own for whatever else is there."""
        if _JSON not in arrays:
            return None
        document = json.loads(arrays[_JSON].tobytes())
        reductions = {
            name: TextReduction.from_arrays({part: arrays[f"{_TEXT}.{at}.{part}"] for part in PARTS})
            for at, name in enumerate(document.get("texts", ()))
        }
        return replace(cls.from_dict(document), reductions=reductions)

    @classmethod
    def declared(cls, columns: Mapping[str, Kind]) -> "InputSchema":
        """Return the schema of configured columns, of which nothing is learned yet."""
        return cls(tuple(columns), tuple(columns.values()))

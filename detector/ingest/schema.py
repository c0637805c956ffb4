"""What a model's inputs consist of: names in order, the kind of each, and the codes of known categories.

A schema is declared by ``[models."<id>".columns]``, or learned by `detector baseline fit` (see `learning`) and kept in the
baseline, so that live events are encoded as those that the baseline was fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from detector.config.detection import Kind
from detector.ingest.formats.texts import TEXT_DIMENSION
from detector.ingest.values import hashed_code

__all__ = ["UNKNOWN", "InputSchema"]

UNKNOWN: Final = 0.0
"""The code of all categories that the baseline does not know; those that it knows count from 1."""

_WIDTHS: Final[Mapping[Kind, int]] = {"number": 1, "category": 1, "text": TEXT_DIMENSION, "time": 1, "ignore": 0}


@dataclass(frozen=True, slots=True)
class InputSchema:
    """The columns of a model's inputs: `names` in order, the kind of each, and `codes` of the categories by column.

    A column of categories without codes, which only configuration declares, takes a hashed code for each text.

    >>> schema = InputSchema(("amount", "note", "country"), ("number", "ignore", "category"), {"country": {"FR": 1}})
    >>> schema.dimension, schema.categorical, schema.code("country", "FR"), schema.code("country", "atlantis")
    (2, (1,), 1.0, 0.0)
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    codes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """How many numbers an input becomes: one a column, `TEXT_DIMENSION` for a text, none for what is ignored."""
        return sum(_WIDTHS[kind] for kind in self.kinds)

    @property
    def categorical(self) -> tuple[int, ...]:
        """The places of the codes in the vector."""
        starts = accumulate((_WIDTHS[kind] for kind in self.kinds), initial=0)
        return tuple(start for start, kind in zip(starts, self.kinds, strict=False) if kind == "category")

    def code(self, name: str, text: str) -> float:
        """Return the code of a category, `UNKNOWN` for one that the baseline does not know."""
        known = self.codes.get(name)
        return hashed_code(text) if known is None else float(known.get(text.strip(), UNKNOWN))

    def same_columns(self, other: "InputSchema") -> bool:
        """Say whether both have the same columns of the same kinds in the same order; codes may differ."""
        return (self.names, self.kinds) == (other.names, other.kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as JSON has it."""
        return {
            "columns": [list(pair) for pair in zip(self.names, self.kinds, strict=True)],
            "codes": {name: dict(known) for name, known in self.codes.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "InputSchema":
        """Read what `to_dict` wrote."""
        columns = document["columns"]
        return cls(tuple(name for name, _ in columns), tuple(kind for _, kind in columns), document["codes"])

    @classmethod
    def declared(cls, columns: Mapping[str, Kind]) -> "InputSchema":
        """Return the schema of configured columns, whose categories are not known yet."""
        return cls(tuple(columns), tuple(columns.values()))

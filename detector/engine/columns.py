"""Columns of client state: each is declared once, in its family's own NamedTuple.

A family is a NamedTuple whose every field is an array with one row per client:

    class Rate(NamedTuple):
        decayed: Annotated[npt.NDArray[np.float64], Column(3)]
        rate_ms: Annotated[npt.NDArray[np.int64], Column(within=(0, LAST_MS))]

The array's type gives the kind of number. `Column` gives the shape of a row, and the range that a saved row is checked against.
Allocation, growth, snapshots and checks follow from this declaration alone; a field without it raises a TypeError.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar, get_args, get_type_hints

import numpy as np

F = TypeVar("F", bound=tuple[Any, ...])
Range = tuple[float, float]


class Axis(enum.Enum):
    """An axis whose length is chosen when the columns are allocated."""

    RETAINED = "retained"  # one place per retained query; the places are filled from the front
    DISTANCES = "distances"  # the latest distances


RETAINED: Final = Axis.RETAINED
DISTANCES: Final = Axis.DISTANCES

Lengths = Mapping[Axis, int]
_NONE: Final[Lengths] = MappingProxyType({})


@dataclass(frozen=True, slots=True, init=False)
class Column:
    """A client's row in one column.

    `shape` is the shape of a row. `within` are the least and the largest value that a saved row may hold; None allows any
    value.
    """

    shape: tuple[int | Axis, ...]
    within: Range | None

    def __init__(self, *shape: int | Axis, within: Range | None = None) -> None:
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "within", within)

    @property
    def retained_axis(self) -> int | None:
        """The axis of a row that runs over the retained queries; None where there is none."""
        return self.shape.index(RETAINED) if RETAINED in self.shape else None

    def row_shape(self, lengths: Lengths) -> tuple[int, ...]:
        """Return the shape of a row for these lengths of the named axes."""
        return tuple(lengths[length] if isinstance(length, Axis) else length for length in self.shape)


class Declared(NamedTuple):
    """The kind of number and the column that a field of a family declares."""

    kind: np.dtype[Any]
    column: Column


@cache
def columns_of(family: type[tuple[Any, ...]]) -> Mapping[str, Declared]:
    """Return what each field of a family declares, in the order of the fields; raises TypeError where a column is missing.

    >>> from typing import Annotated
    >>> import numpy.typing as npt
    >>> Twice = NamedTuple("Twice", [("recent", Annotated[npt.NDArray[np.float32], Column(2, DISTANCES)])])
    >>> kind, column = columns_of(Twice)["recent"]
    >>> kind.str, column.row_shape({DISTANCES: 100})
    ('<f4', (2, 100))
    """
    found = {}
    for name, hint in get_type_hints(family, include_extras=True).items():
        declared = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Column)]
        if len(declared) != 1:
            raise TypeError(f"{family.__name__}.{name} does not declare one Column")
        _, kind = get_args(get_args(hint)[0])  # of ndarray[shape, dtype[kind]]
        found[name] = Declared(np.dtype(get_args(kind)[0]), declared[0])
    return MappingProxyType(found)


def allocate(family: type[F], clients: int, lengths: Lengths = _NONE) -> F:
    """Return a family's columns, all zero, with a row for each of so many clients."""
    declared = columns_of(family).values()
    return family(*(np.zeros((clients, *column.row_shape(lengths)), kind) for kind, column in declared))

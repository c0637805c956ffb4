"""Columns of any table, as lists of plain Python values: data frames of pandas and polars, tables of pyarrow, mappings.

No library is imported for it: a frame is asked by the names that all of them share. Another object that offers
``__arrow_c_stream__`` is read through pyarrow, where that is installed.
"""

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

__all__ = ["Table", "plain"]

_TAKEN: Final = "a data frame of pandas or polars, a table of pyarrow, or a mapping of columns"
_NAMES_SHOWN: Final = 20


class Table:
    """A table whose columns are read by name.

    Raises TypeError for an object that is no table, ValueError for a column that stands in it twice, and, from `values`, for
    one that is not there.

    >>> table = Table({"client": np.array(["a", "b"]), "amount": [1.5, float("nan")]})
    >>> table.names, table.values("amount")
    (('client', 'amount'), [1.5, None])
    """

    def __init__(self, frame: Any) -> None:
        """Read columns of `frame`, when they are asked for."""
        self.frame = frame
        names = _names(frame)
        if names is None and hasattr(frame, "__arrow_c_stream__"):
            self.frame = _through_arrow(frame)
            names = _names(self.frame)
        if names is None:
            raise TypeError(f"events come from {_TAKEN}, not from {type(frame).__name__}")
        self.names = names
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise ValueError(f"two columns are called {twice!r}")

    def values(self, name: Any) -> list[Any]:
        """Return a column as plain values, see `plain`."""
        if name not in self.names:
            raise ValueError(f"no column {name!r}; there are: {self.known}")
        return [plain(value) for value in _listed(self.frame[name])]

    @property
    def known(self) -> str:
        """The names that there are, for a message."""
        shown = ", ".join(map(repr, self.names[:_NAMES_SHOWN]))
        return f"{shown} and {len(self.names) - _NAMES_SHOWN} more" if len(self.names) > _NAMES_SHOWN else shown or "none"


def _names(frame: Any) -> tuple[Any, ...] | None:
    if isinstance(frame, Mapping):
        return tuple(frame)
    if isinstance(frame, np.ndarray):
        return frame.dtype.names if frame.ndim == 1 else None
    for attribute in ("column_names", "columns"):  # pyarrow; pandas and polars. pyarrow's `columns` are the columns themselves
        names = getattr(frame, attribute, None)
        if names is not None and hasattr(frame, "__getitem__"):
            return tuple(names)
    return None


def _through_arrow(frame: Any) -> Any:
    try:
        return import_module("pyarrow").table(frame)
    except ImportError:
        raise TypeError(
            f"{type(frame).__name__} is read through pyarrow, which is not installed: "
            "pip install 'model-extraction-detector[parquet]'"
        ) from None


def _listed(column: Any) -> Sequence[Any]:
    """Return a column as a list, with times as datetimes: nanoseconds, which no datetime has, are cut."""
    if isinstance(column, list | tuple):
        return column
    if isinstance(column, str | bytes | Mapping):
        raise TypeError(f"a column is a list or an array, not {type(column).__name__}")
    kind = getattr(column, "type", None)
    if getattr(kind, "unit", None) == "ns" and hasattr(column, "to_pylist"):
        column = column.cast(import_module("pyarrow").timestamp("us", getattr(kind, "tz", None)), safe=False)
    for name in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, name) and not isinstance(column, np.ndarray):
            found: Sequence[Any] = getattr(column, name)()
            return found
    values = np.asarray(list(column) if isinstance(column, Iterator) else column)
    if values.ndim > 1:
        return list(values)
    if values.ndim == 0:
        raise TypeError(f"a column is a list or an array, not {type(column).__name__}")
    plain_values: list[Any] = (values.astype("datetime64[us]") if values.dtype.kind == "M" else values).tolist()
    return plain_values


def plain(value: Any) -> Any:
    """Return a value of a cell as Python and JSON have it; None for each kind of missing value (NaN, NaT, NA).

    Times stay datetimes. Arrays become lists, in which NaN stays; decimals become numbers, dates and all else text.

    >>> plain(np.float32("nan")), plain(np.int8(3)), plain(decimal.Decimal("1.5")), plain(np.array([1, 2]))
    (None, 3, 1.5, [1, 2])
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    if isinstance(value, list | tuple | Mapping):
        return value
    if not hasattr(value, "__len__") and _is_missing(value):
        return None
    if isinstance(value, dt.datetime):
        return value
    return _written(value)


def _is_missing(value: Any) -> bool:
    """Tell whether a value says of itself that it is none: NaT and NaN of decimals differ from themselves, and NA hides."""
    try:
        return bool(value != value)  # noqa: PLR0124  # what tells NaN
    except (TypeError, ValueError, ArithmeticError):
        return type(value).__name__ == "NAType"


def _written(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    if isinstance(value, uuid.UUID):
        return str(value)
    for name in ("to_pylist", "to_list", "tolist"):  # a list within a frame of polars or of pyarrow
        if hasattr(value, name):
            return getattr(value, name)()
    return str(value)

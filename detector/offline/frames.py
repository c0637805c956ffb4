"""Data frames of events: a row an event, a column a field of the native form."""

import copy
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_frame", "rows"]

VECTOR = "input.vector"
INTEGERS = frozenset({"output.label", "status", "time"})  # fields that take an integer or a text, or no fraction


def is_frame(events: object) -> "TypeGuard[pd.DataFrame]":
    """Tell whether this is a pandas data frame, without importing pandas where nobody has."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(events, pandas.DataFrame)


def rows(frame: "pd.DataFrame") -> Iterator[Mapping[str, Any]]:
    """Yield the events of a data frame in the order of its rows; see `detector.Detector.observe` for its columns.

    Raises ValueError for columns of the input that are not numbered from 0 without a gap, for columns that name the same field,
    and for names that are no texts.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"event_id": ["e1"], "client.id": ["acme"], "input.vector.0": [0.5], "input.vector.1": [None]})
    >>> list(rows(frame))
    [{'event_id': 'e1', 'client': {'id': 'acme'}, 'input': {'vector': [0.5, None]}}]
    """
    from pandas import isna

    strange = [name for name in frame.columns if not isinstance(name, str)]
    if strange:
        raise ValueError(f"columns are called as fields of an event are, not {strange[0]!r}")
    numbered = [str(name) for name in frame.columns if str(name).startswith(f"{VECTOR}.")]
    inputs = [f"{VECTOR}.{place}" for place in range(len(numbered))]
    if set(inputs) != set(numbered):
        raise ValueError(f"columns {VECTOR}.0, {VECTOR}.1, ... have to be numbered without a gap")
    fields = [str(name) for name in frame.columns if str(name) not in inputs]
    for cells in frame.to_dict("records"):
        event: dict[str, Any] = {}
        for name in fields:
            value = cells[name]
            if not (_is_scalar(value) and isna(value)):
                _put(event, name.split("."), _whole(name, value))
        if inputs:
            _put(event, VECTOR.split("."), [None if isna(cells[name]) else cells[name] for name in inputs])
        yield event


def _is_scalar(value: object) -> bool:
    return not isinstance(value, list | tuple | Mapping) and getattr(value, "ndim", 0) == 0


def _whole(name: str, value: object) -> object:
    """Return an integer that pandas holds as a float, since other rows have none."""
    return int(value) if name in INTEGERS and isinstance(value, float) and value.is_integer() else value


def _put(event: dict[str, Any], path: list[str], value: object) -> None:
    for name in path[:-1]:
        below = event.setdefault(name, {})
        if not isinstance(below, dict):
            raise ValueError(f"columns {name!r} and {'.'.join(path)!r} name the same field")  # noqa: TRY004
        event = below
    if path[-1] in event:
        raise ValueError(f"two columns name the field {'.'.join(path)!r}")
    event[path[-1]] = copy.deepcopy(value) if isinstance(value, dict) else value  # the caller's own stays as it is

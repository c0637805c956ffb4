"""Columns of tables of every kind: the same plain values from each."""

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from detector.offline.columns import Table, plain

WHEN = [dt.datetime.fromisoformat("2026-05-04T10:31:07.412"), None]
COLUMNS: dict[str, list[Any]] = {
    "number": [1.5, None],
    "whole": [3, 4],
    "text": ["a", None],
    "truth": [True, None],
    "when": WHEN,
    "list": [[1.0, 2.0], [3.0, 4.0]],
}


def _pandas() -> Any:
    return pd.DataFrame(COLUMNS)


def _pandas_nullable() -> Any:
    return pd.DataFrame(COLUMNS).convert_dtypes().astype({"text": "category", "when": "datetime64[ns]"})


def _pyarrow() -> Any:
    return pa.table(COLUMNS)


def _pyarrow_nanoseconds() -> Any:
    table = pa.table(COLUMNS)
    return table.set_column(4, "when", pa.array([1_777_890_667_412_345_678, None], pa.timestamp("ns")))


class _Exported:
    """A table that only offers the interchange of Arrow."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


def _arrays() -> Any:
    return {
        **COLUMNS,
        "number": np.array([1.5, np.nan], np.float32),
        "whole": np.array([3, 4], np.uint8),
        "when": np.array(["2026-05-04T10:31:07.412", "NaT"], "datetime64[ns]"),
        "list": np.array([[1.0, 2.0], [3.0, 4.0]]),
    }


def _polars() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


@pytest.mark.parametrize(
    "make", [lambda: COLUMNS, _arrays, _pandas, _pandas_nullable, _pyarrow, _pyarrow_nanoseconds, _Exported, _polars]
)
def test_every_table_gives_the_same_values(make: Callable[[], Any]) -> None:
    """Missing values are None whatever they were, times are datetimes, lists are lists."""
    table = Table(make())
    assert table.names == tuple(COLUMNS)
    for name in ("number", "whole", "text", "truth", "list"):
        assert table.values(name) == COLUMNS[name]
    first, last = table.values("when")
    assert (first.replace(microsecond=0), first.microsecond // 1000, last) == (
        dt.datetime.fromisoformat("2026-05-04T10:31:07"),
        412,
        None,
    )


def test_an_offset_is_kept() -> None:
    """Of pandas and of pyarrow."""
    moment = pd.Timestamp("2026-05-04T12:31:07+02:00")
    for frame in (pd.DataFrame({"when": [moment]}), pa.table({"when": pa.array([moment], pa.timestamp("ns", "Europe/Paris"))})):
        (value,) = Table(frame).values("when")
        assert value == moment
        assert value.utcoffset() == dt.timedelta(hours=2)


def test_a_structured_array_is_a_table() -> None:
    """Each of its fields is a column."""
    array = np.array([(1, "a"), (2, "b")], [("whole", "i4"), ("text", "U1")])
    assert Table(array).values("text") == ["a", "b"]


def test_plain_values() -> None:
    """Of every kind that a cell may hold."""
    assert [plain(value) for value in (np.bool_(1), pd.NA, pd.NaT, decimal.Decimal("NaN"), dt.timedelta(minutes=1))] == [
        True,
        None,
        None,
        None,
        60.0,
    ]
    one = uuid.UUID(int=1)
    assert [plain(value) for value in (b"a\xff", dt.date(2026, 5, 4), one, 1 + 2j, pd.array([1, 2]))] == [
        "a\ufffd",
        "2026-05-04",
        str(one),
        "(1+2j)",
        [1, 2],
    ]


@pytest.mark.parametrize("frame", [None, 3, "text", [1, 2], np.zeros((2, 2)), object()])
def test_what_is_no_table(frame: Any) -> None:
    """It is named with what would be one."""
    with pytest.raises(TypeError, match="events come from a data frame of pandas or polars"):
        Table(frame)


def test_wrong_columns() -> None:
    """The names that exist are named, not more than twenty of them."""
    with pytest.raises(ValueError, match="two columns are called 'a'"):
        Table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="no column 'x'; there are: none"):
        Table({}).values("x")
    with pytest.raises(ValueError, match=r"0, 1, .*, 19 and 5 more$"):
        Table({number: [1] for number in range(25)}).values("x")
    for wrong in ("text", b"bytes", {"a": 1}, 3):
        with pytest.raises(TypeError, match="a column is a list or an array, not"):
            Table({"a": wrong}).values("a")

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array

TABLE = np.array([[18.0, 0.5, 2.0, 7.0], [64.0, 0.25, 0.0, 7.0], [40.0, 3.0, 2.0, 7.0]])


def test_columns_are_read_off_records() -> None:
    """Ranges, medians, whole numbers and codes are those of the records; codes need not be 0, 1, 2."""
    columns = TableColumns.of(TABLE, categorical=(2,))
    assert columns.dimension == 4
    assert columns.numeric == (0, 1, 3)
    assert columns.integer == (0, 3)
    assert columns.categorical == (2,)
    assert columns.low.tolist() == [18.0, 0.25, 0.0, 7.0]
    assert columns.high.tolist() == [64.0, 3.0, 2.0, 7.0]
    assert columns.middle[0] == 40.0
    assert columns.codes[2].tolist() == [0.0, 2.0]
    assert columns.admits(TABLE).all()


@given(
    record=hnp.arrays(np.float64, 4, elements=st.floats(-1e6, 1e6)),
    code=st.sampled_from([0.0, 2.0]),
)
def test_a_settled_record_is_admitted(record: Array, code: float) -> None:
    """Whatever the numbers, a record with codes that exist can be held once it is settled, and settling twice is once."""
    columns = TableColumns.of(TABLE, categorical=(2,))
    record[2] = code
    before = record.copy()
    settled = columns.settled(record)
    assert columns.admits(settled[None]).all()
    assert np.array_equal(settled, columns.settled(settled))
    assert np.array_equal(record, before)


@pytest.mark.parametrize(("column", "value"), [(0, 17.0), (0, 20.5), (1, 3.1), (2, 1.0), (3, 8.0)])
def test_what_no_record_of_the_table_has_is_not_admitted(column: int, value: float) -> None:
    """Out of range, not whole or an unknown code."""
    record = TABLE[0].copy()
    record[column] = value
    assert not TableColumns.of(TABLE, categorical=(2,)).admits(record[None]).any()


def test_columns_that_do_not_exist_are_refused() -> None:
    """So are tables without records."""
    with pytest.raises(ValueError, match="categorical columns"):
        TableColumns.of(TABLE, categorical=(4,))
    with pytest.raises(ValueError, match="at least one record"):
        TableColumns.of(TABLE[:0])

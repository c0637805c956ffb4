"""The way from one record to another, column by column, before the column that turned the label is halved."""

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.crossing import is_crossing

Vector = npt.NDArray[np.float64]
DIMENSION = 24
NUMBERS = 16


def record(seed: int) -> Vector:
    """Return some record."""
    return np.rint(np.random.default_rng(seed).normal(size=DIMENSION) * 1000)


def crossing(earlier: list[Vector], labels: list[int], level: float = 0.0) -> bool:
    """Tell whether the last of these records is a step on the way between two others, from the one before it."""
    rows = np.array(earlier)
    z = rows.T.astype(np.int16)
    c = np.clip(np.rint(rows / 50.0) + 128, 0, 255).astype(np.uint8)
    held = len(rows) - 1
    query, grain = rows[-1].astype(np.float32), np.full(DIMENSION, level, np.float32)
    retained = (z[:, :held].copy(), c[:held], np.array(labels[:held], np.int32), np.arange(held).astype(np.uint32))
    turned = labels[-1] != labels[-2]
    return turned and bool(is_crossing(query, c[-1], *retained, held, held - 1, NUMBERS, grain))


def way(first: Vector, last: Vector, columns: int) -> list[Vector]:
    """Return the records in which the first columns of one become those of the other, one after the other."""
    steps = [first]
    for k in range(columns):
        step = steps[-1].copy()
        step[k] = last[k]
        steps.append(step)
    return steps[1:]


def test_a_step_on_the_way_between_two_records_crosses_where_the_label_turns() -> None:
    """From the second column on, in the order of the way."""
    first, last, strange = record(1), record(2), record(3)
    for columns in (2, 3, 6):
        steps = way(first, last, columns)
        labels = [0, 1, 0, *[0] * (columns - 1), 1]
        assert crossing([first, last, strange, *steps], labels)
        assert not crossing([first, record(4), strange, *steps], labels)
        assert not crossing([first, last, strange, *steps], [0, 0, *labels[2:]])
    assert not crossing([first, last, strange, *way(first, last, 1)], [0, 1, 0, 1])
    steps = way(first, last, 3)
    assert crossing([first, last, *steps], [0, 1, 0, 0, 2])
    assert not crossing([first, last, *steps[::-1]], [0, 1, 1, 0, 0])


def test_a_value_of_neither_record_is_another_change() -> None:
    """A person who edits a form types values of his own."""
    first, last = record(1), record(2)
    steps = way(first, last, 4)
    for step in steps:
        step[2] += 500.0
    assert not crossing([first, last, *steps], [0, 1, 0, 0, 0, 1])


def test_values_that_agree_by_accident_say_nothing() -> None:
    """Few levels, and values that many records share."""
    first, last = record(1), record(2)
    steps = way(first, last, 3)
    assert not crossing([first, last, *steps], [0, 1, 0, 0, 1], level=1000.0)
    others = [record(seed) for seed in range(5, 9)]
    for other in others:
        other[:3] = last[:3]
    assert not crossing([*others, first, last, *steps], [0, 0, 0, 0, 0, 1, 0, 0, 1])


def test_records_that_differ_in_no_visible_column_are_on_no_way() -> None:
    """A search along a column without a coordinate is no way from another record, of which it has a value in 8 bits."""
    first, last = record(1), record(2)
    first[NUMBERS:], last[NUMBERS:] = 22.0, 400.0
    here, there = last.copy(), last.copy()
    here[NUMBERS:] = 21.0
    there[NUMBERS:] = 22.0
    assert not crossing([first, last, here, there], [0, 1, 0, 1])

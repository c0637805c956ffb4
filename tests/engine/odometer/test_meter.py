"""Readings of one client."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.odometer.meter import FIRST_READING, Meter
from detector.engine.odometer.reading import Reading, lead_of, reading
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.told import Told, told_of
from tests.engine.odometer.learned import LABELS, judge, queries, told, uneven


@pytest.fixture(scope="module")
def judging() -> ReferenceSet:
    return judge()


def last(judging: ReferenceSet, asked: Told, seed: int = 5) -> Reading:
    return Meter(judging, seed).add(asked)[-1]


@pytest.mark.parametrize("answers", ["all", "top", "label", "rounded"])
@pytest.mark.parametrize("table", [False, True])
def test_the_lead_grows_with_what_was_told(answers: str, table: bool) -> None:
    """More queries teach more, whatever form the responses have; the interval holds the lead."""
    readings = Meter(judge(table=table), 5).add(told(400, 1, answers))
    assert readings[0].queries == FIRST_READING
    assert readings[-1].lead > max(0.5, readings[0].lead)
    assert all(0.0 <= r.low <= r.lead <= r.high <= 1.0 for r in readings)


def test_foreign_inputs_and_noise_teach_less(judging: ReferenceSet) -> None:
    """Random labels teach nothing; probabilities teach at least as much as labels."""
    assert last(judging, told(400, 1, "noise")).lead < 0.35
    assert last(judging, told(400, 1)).lead > last(judging, told(400, 1, "noise")).lead + 0.3


def test_a_repeated_query_teaches_nothing(judging: ReferenceSet) -> None:
    """A client that asks one thing again and again is at the guess, however often it asks."""
    again = told(1, 3).take([0] * 300)
    assert last(judging, again).lead < 0.2


def test_too_few_queries_are_not_measured(judging: ReferenceSet) -> None:
    """The first reading comes at 32 queries."""
    meter = Meter(judging, 5)
    assert meter.add(told(FIRST_READING - 1, 1)) == []
    assert meter.queries == FIRST_READING - 1
    assert len(meter.add(told(1, 2))) == 1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("form", ["all", "rest and score", "score and rest", "sorted", "confidence", "percent", "unlike"])
def test_probabilities_of_any_form_teach_no_less_than_labels(classes: int, form: str) -> None:
    """Whatever a server writes beside the label, the lead is not far below that of the labels alone."""
    z, c, chances = uneven(300, 2, classes)
    place = chances.argmax(axis=1)
    score = chances.max(axis=1, keepdims=True)
    given = {
        "all": chances,
        "rest and score": np.concatenate([1.0 - score, score], axis=1),
        "score and rest": np.concatenate([score, 1.0 - score], axis=1),
        "sorted": -np.sort(-chances, axis=1),
        "confidence": score,
        "percent": 100.0 * score,
        "unlike": np.roll(chances, 1, axis=0),
    }[form]
    judge_z, judge_c, judge_chances = uneven(256, 9, classes)
    judging = ReferenceSet(judge_z, judge_c, LABELS[judge_chances.argmax(axis=1)], table=False)
    labels = last(judging, told_of(z, c, LABELS[place])).lead
    assert labels > 0.5
    assert last(judging, told_of(z, c, LABELS[place], given)).lead > labels - 0.12


def test_a_rare_third_label_does_not_change_what_a_probability_means() -> None:
    """A single probability is that of one of two labels, also where an odd response has a third one."""
    judge_z, judge_c, judge_chances = uneven(256, 9, 2)
    label = LABELS[judge_chances.argmax(axis=1)]
    label[:3] = LABELS[2]
    judging = ReferenceSet(judge_z, judge_c, label, table=False)
    z, c, chances = uneven(300, 2, 2)
    told_label = LABELS[chances.argmax(axis=1)]
    told_label[::60] = LABELS[2]
    for side in (0, 1):
        single = last(judging, told_of(z, c, told_label, chances[:, side : side + 1])).lead
        assert single > last(judging, told_of(z, c, told_label)).lead - 0.05


def test_a_meter_holds_little() -> None:
    """Before the first reading nothing but the queries; a thousand probabilities are no more than sixteen."""
    judging = judge()
    few = Meter(judging, 5)
    few.add(told(4, 1))
    assert held_by(few) < 2000
    z, c = queries(300, 1)
    wide = np.random.default_rng(1).random((300, 1000))
    heavy = Meter(judging, 5)
    heavy.add(told_of(z, c, LABELS[wide[:, :3].argmax(axis=1)], wide))
    assert held_by(heavy) < 50_000


def held_by(meter: Meter) -> int:
    """Return how many bytes a meter holds, without what all meters share."""
    met: set[int] = {id(judge_of) for name, judge_of in slots_of(meter) if name == "_judge"}
    total, left = 0, [thing for name, thing in slots_of(meter) if name != "_judge"]
    while left:
        thing = left.pop()
        if id(thing) in met:
            continue
        met.add(id(thing))
        total += sys.getsizeof(thing)
        if isinstance(thing, list | tuple):
            left += thing
        else:
            left += [inner for _, inner in slots_of(thing)]
    return total


def slots_of(thing: object) -> list[tuple[str, object]]:
    return [(name, getattr(thing, name)) for name in getattr(type(thing), "__slots__", ()) if hasattr(thing, name)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 2**62), st.sampled_from(["all", "label", "noise"]))
def test_readings_do_not_depend_on_how_queries_are_cut(cuts: list[int], seed: int, answers: str) -> None:
    """The same queries give the same readings bit for bit, and every lead is within 0 and 1."""
    judging = judge(n=64)
    asked = told(sum(cuts), seed % 1000, answers)
    whole = Meter(judging, seed).add(asked)
    meter, pieces, start = Meter(judging, seed), [], 0
    for cut in cuts:
        pieces += meter.add(asked.take(slice(start, start + cut)))
        start += cut
    assert pieces == whole
    assert all(0.0 <= r.low <= r.lead <= r.high <= 1.0 for r in whole)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2000))
def test_a_lead_is_between_nothing_and_everything(agreement: float, guess: float, inputs: int) -> None:
    """Whatever the agreement and the guess."""
    found = reading(40, agreement, guess, inputs, table=False)
    assert 0.0 <= found.low <= found.lead <= found.high <= 1.0
    assert lead_of(agreement, guess) == found.lead


def test_more_reference_inputs_narrow_the_interval() -> None:
    """The luck of the draw shrinks; the error of the small copy stays."""
    few, many = reading(40, 0.8, 0.6, 64, table=False), reading(40, 0.8, 0.6, 1024, table=False)
    assert many.high - many.low < few.high - few.low
    assert many.high - many.low > 0.3

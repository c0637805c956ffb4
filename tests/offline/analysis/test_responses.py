"""Responses: read from the log again, and the copy that they make."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import detector
from detector.errors import SourceError
from detector.offline.analysis.responses import Responses
from detector.testing import Events

if TYPE_CHECKING:
    from tests.offline.conftest import Day


def _halves(queries: int, fresh: int, rng: np.random.Generator) -> Responses:
    """Answers that depend on which side of a line the input is on, far from zero and on different scales."""
    scale = np.array([1.0, 5_000.0])
    inputs = rng.normal(size=(queries + fresh, 2)) * scale + 3 * scale
    answers = np.eye(2)[((inputs / scale).sum(axis=1) > 6).astype(int)]
    return Responses(
        "c", "m", tuple(map(str, range(queries))), inputs[:queries], answers[:queries], inputs[queries:], answers[queries:]
    )


def test_a_copy_gets_better_with_the_responses() -> None:
    """From little better than guessing to nearly the model, on columns of any scale; moments beyond the end are left out."""
    copies = _halves(200, 300, np.random.default_rng(3)).copies([4, 0, 900])
    assert list(copies.columns) == ["queries", "fidelity"]
    assert copies["queries"].tolist() == [4, 200]
    assert copies["fidelity"].iloc[0] < copies["fidelity"].iloc[1]
    assert copies["fidelity"].iloc[1] > 0.9


def test_moments_are_powers_of_two_unless_given() -> None:
    """And all queries."""
    assert _halves(20, 60, np.random.default_rng(4)).copies()["queries"].tolist() == [8, 16, 20]


def test_missing_values_count_as_the_mean() -> None:
    """A copy of answers to inputs with gaps is trained all the same."""
    found = _halves(200, 300, np.random.default_rng(3))
    for inputs in (found.inputs, found.fresh_inputs):
        inputs[::50, 1] = np.nan
    assert found.copies([4])["fidelity"].iloc[-1] > 0.85


def test_copies_need_others_to_be_judged_by() -> None:
    """A log of one client cannot say how good its copy is."""
    with pytest.raises(SourceError, match="holds 9 queries of clients without alerts to model 'm'; 50 are needed"):
        _halves(20, 9, np.random.default_rng(5)).copies()


def _replayed(lines: list[bytes], folder: Path) -> detector.Results:
    log = folder / "log.jsonl"
    log.write_bytes(b"\n".join(lines))
    return detector.replay(log)


def test_probabilities_are_read_as_they_are(tmp_path: Path) -> None:
    """Where all answers have them; repeats, broken lines and other models' events are left out."""
    events, other = Events("m"), Events("n")
    lines = [
        events.line("acme", [0.1, 0.2], probabilities=[0.7, 0.2, 0.1]),
        events.line("acme", [0.3, 0.4], 1, probabilities=[0.2, 0.5, 0.3]),
        other.line("acme", [1.0], "x"),
        b'{"event_id": 1',
        events.line("bob", [0.5, 0.6], probabilities=[0.0, 0.0, 1.0]),
    ]
    results = _replayed([*lines, lines[0]], tmp_path)
    responses = results.responses("acme", "m")
    assert responses.event_ids == ("m-0", "m-1")
    assert responses.outputs.tolist() == [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]]
    assert responses.fresh_inputs.round(4).tolist() == [[0.5, 0.6]]
    with pytest.raises(SourceError, match="uses several models"):
        results.responses("acme")


def test_labels_stand_in_for_probabilities(tmp_path: Path) -> None:
    """One column for each label in any response, also where some answers had probabilities as well."""
    events = Events("m")
    lines = [events.line("acme", [0.1], "cat"), events.line("acme", [0.2], "dog"), events.line("bob", [0.3], "emu")]
    lines += [events.line("bob", [0.4], "cat", probabilities=[0.9, 0.1])]
    responses = _replayed(lines, tmp_path).responses("acme")
    assert responses.outputs.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert responses.fresh_outputs.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_answers_without_a_common_form_are_refused(tmp_path: Path) -> None:
    """Which class a label belongs to cannot be known."""
    events = Events("m")
    lines = [events.line("acme", [0.1], "cat"), events.line("acme", [0.2], probabilities=[0.9, 0.1])]
    with pytest.raises(SourceError, match="probabilities without a label"):
        _replayed(lines, tmp_path).responses("acme")


def test_a_log_that_has_changed_is_noticed(tmp_path: Path) -> None:
    """Rather than read for half of the queries, or none."""
    events = Events("m")
    lines = [events.line("acme", [0.1 * i], i % 2) for i in range(3)]
    results = _replayed(lines, tmp_path)
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines[:2]))
    with pytest.raises(SourceError, match="no longer holds 1 of the client's queries, such as 'm-2'"):
        results.responses("acme")
    (tmp_path / "log.jsonl").unlink()
    with pytest.raises(SourceError, match="is gone"):
        results.responses("acme")


def test_a_thief_knows_more_after_more_queries(day: "Day") -> None:
    """Over a whole log: the best copy of a thief's, judged by the readers' responses."""
    copies = day.results.responses("thief-0").copies([8])
    assert copies["queries"].tolist() == [8, 48]
    assert ((copies["fidelity"] > 0) & (copies["fidelity"] <= 1)).all()
    assert isinstance(copies, pd.DataFrame)
    assert json.loads(copies.to_json(orient="records"))[0]["queries"] == 8

"""Events from data frames: those that a log of the same rows would give, and a reason for each row that is none."""

import datetime as dt
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import detector
from detector.config import Config, EngineSection, ModelSection
from detector.contracts.event import PredictionEvent
from detector.errors import OutputError
from detector.offline.events import FrameEvents
from detector.testing import traffic

FRAME: dict[str, list[Any]] = {
    "user": ["acme", "beta"],
    "when": ["2026-05-04T10:31:07Z", 1_777_890_668],
    "amount": [1.5, 2.5],
    "country": ["FR", None],
    "verdict": ["ok", "fraud"],
}
USUAL: dict[str, Any] = {"client": "user", "time": "when", "label": "verdict", "model": "cards"}


def _events(frame: Any = None, columns: Any = ("amount", "country"), **changes: Any) -> FrameEvents:
    return detector.events_from(FRAME if frame is None else frame, columns, **{**USUAL, **changes})


def _refused(**changes: Any) -> tuple[str, str]:
    """Return why the first row is refused where a column holds something else; the second one is good."""
    found = _events({**FRAME, **changes})
    assert len(found) == 1
    (entry,) = found.refused
    assert entry.line == 1
    assert "amount" in json.loads(entry.original()) or "input" in json.loads(entry.original())
    return entry.reason, entry.detail


def test_events_are_of_the_native_form() -> None:
    """All fields, and the reference accepts them."""
    more = {"address": ["192.0.2.1", None], "took": [3.5, None], "code": [200.0, None], "id": ["q1", 7.0], "v": [2, None]}
    fields = {"client.ip": "address", "latency_ms": "took", "status": "code", "model.version": "v"}
    events = _events({**FRAME, **more}, event_id="id", fields=fields)
    assert list(events) == [
        {
            "event_id": "q1",
            "time": "2026-05-04T10:31:07.000Z",
            "client": {"id": "acme", "ip": "192.0.2.1"},
            "model": {"id": "cards", "version": "2"},
            "input": {"columns": {"amount": 1.5, "country": "FR"}},
            "output": {"label": "ok"},
            "latency_ms": 3.5,
            "status": 200,
        },
        {
            "event_id": "7",
            "time": "2026-05-04T10:31:08.000Z",
            "client": {"id": "beta"},
            "model": {"id": "cards"},
            "input": {"columns": {"amount": 2.5, "country": None}},
            "output": {"label": "fraud"},
        },
    ]
    for event in events:
        PredictionEvent.model_validate(event)
    assert (repr(events), events[:1], list(events.refused)) == ("<FrameEvents: 2 events>", [events[0]], [])


def test_answers() -> None:
    """Labels, lists, columns of probabilities, scores and numbers that were predicted."""
    frame = {
        **FRAME,
        "no": [0.9, 0.2],
        "yes": [0.1, 0.8],
        "both": [np.array([0.9, 0.1]), (0.2, 0.8)],
        "price": [12.5, -3],
        "class": [1.0, None],
    }
    answers = {
        "columns": _events(frame, probabilities=["no", "yes"]),
        "lists": _events(frame, probabilities="both"),
        "score": _events(frame, label=None, score="yes"),
        "number": _events(frame, label=None, score="price"),
        "sparse": _events(frame, label="class", score="yes"),
    }
    assert {name: [event["output"] for event in found] for name, found in answers.items()} == {
        "columns": [{"label": "ok", "probabilities": [0.9, 0.1]}, {"label": "fraud", "probabilities": [0.2, 0.8]}],
        "lists": [{"label": "ok", "probabilities": [0.9, 0.1]}, {"label": "fraud", "probabilities": [0.2, 0.8]}],
        "score": [{"probabilities": [0.9, 0.1]}, {"probabilities": [pytest.approx(0.2), 0.8]}],
        "number": [{"value": 12.5}, {"value": -3.0}],
        "sparse": [{"label": 1, "probabilities": [0.9, 0.1]}, {"probabilities": [pytest.approx(0.2), 0.8]}],
    }


def test_whole_inputs() -> None:
    """One column, named alone, is a list of numbers, a text, or an object of columns."""
    frame = {**FRAME, "x": [np.array([1.0, np.nan]), [[3], [4]]], "ask": ["Why?", "How?"], "row": [{"a": 1}, {"a": 2}]}
    assert [event["input"] for event in _events(frame, "ask")] == [{"text": "Why?"}, {"text": "How?"}]
    assert [event["input"] for event in _events(frame, "row")] == [{"columns": {"a": 1}}, {"columns": {"a": 2}}]
    first, second = (event["input"]["vector"] for event in _events(frame, "x"))
    assert (first[0], np.isnan(first[1]), second) == (1.0, True, [3, 4])
    assert [entry.detail for entry in _events(frame, ["x"]).refused] == [
        "input.x: a list or an object; name this column alone, not in a list"
    ] * 2


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        (dt.datetime.fromisoformat("2026-05-04T12:31:07.412999"), "Europe/Paris", "10:31:07.412"),
        (pd.Timestamp("2026-05-04T12:31:07.412999999"), ZoneInfo("Europe/Paris"), "10:31:07.412"),
        (pd.Timestamp("2026-05-04T12:31:07+02:00"), None, "10:31:07.000"),
        (np.datetime64("2026-05-04T10:31:07.412", "ns"), "UTC", "10:31:07.412"),
        ("2026-05-04 12:31:07", "Europe/Paris", "10:31:07.000"),
        ("1777890667412", None, "10:31:07.412"),
        (1777890667.412, None, "10:31:07.412"),
        (np.int64(1777890667412), None, "10:31:07.412"),
    ],
)
def test_times(value: Any, zone: Any, expected: str) -> None:
    """Of every kind: aware, naive with a zone, text, and numbers in the unit that their size tells."""
    values = np.array([value, value]) if isinstance(value, np.datetime64) else [value, value]
    assert {event["time"] for event in _events({**FRAME, "when": values}, zone=zone)} == {f"2026-05-04T{expected}Z"}


def test_naive_times_need_a_zone() -> None:
    """From the caller or from the configuration; nobody else can tell when it was."""
    frame = pd.DataFrame({**FRAME, "when": pd.to_datetime(["2026-05-04 10:31", "2026-05-04 10:32"])})
    with pytest.raises(ValueError, match="column 'when' has times without an offset: give zone=\"UTC\""):
        _events(frame)
    with pytest.raises(ValueError, match="'Mars' is no time zone"):
        _events(frame, zone="Mars")
    config = Config(engine=EngineSection(naive_time_zone="UTC"))
    assert _events(frame, config=config)[0]["time"] == "2026-05-04T10:31:00.000Z"


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"user": [None, "b"]}, "unidentified", "column 'user': no client in it"),
        ({"user": [["x"], "b"]}, "unidentified", "column 'user': no client in it"),
        ({"user": ["x" * 300, "b"]}, "schema", "client.id: String should have at most 256 characters"),
        ({"when": [None, 1_777_890_668]}, "schema", "time: column 'when' is empty"),
        ({"when": [True, 1_777_890_668]}, "schema", "time: column 'when' holds neither a time, a text nor a number"),
        ({"when": [-5, 1_777_890_668]}, "schema", "time: -5 read as seconds since 1970 is before 1970"),
        ({"when": ["soon", 1_777_890_668]}, "schema", "time: not an RFC 3339 time with an offset"),
        ({"amount": [None, 1], "country": [None, "x"]}, "schema", "input: all values are missing"),
        ({"amount": [float("inf"), 1]}, "not_finite", "input.amount: infinite"),
        ({"amount": [1e39, 1]}, "not_finite", "input: not finite in float32"),
        ({"verdict": [None, "x"]}, "unanswered", "the columns of the answer are empty"),
        ({"verdict": [[None], "x"]}, "schema", "response: not a label, score or list of probabilities"),
    ],
)
def test_refused_rows(changes: dict[str, Any], reason: str, detail: str) -> None:
    """Each has its number, the reason that a reader gives, and what the row held."""
    found = _refused(**changes)
    assert found[0] == reason
    assert found[1].startswith(detail) or found[1] == detail


def test_rows_of_several_models() -> None:
    """A column names the model."""
    events = _events({**FRAME, "model": ["cards", None]}, model=None, model_column="model")
    assert [event["model"]["id"] for event in events] == ["cards"]
    assert [entry.detail for entry in events.refused] == ["column 'model': no model in it"]
    events = _events({**FRAME, "id": [None, "a"]}, event_id="id")
    assert [entry.detail for entry in events.refused] == ["column 'id': no id in it"]


def test_ids_are_made_of_the_content() -> None:
    """The same each time; a row that stands there twice is two queries."""
    twice = {name: [values[0], values[0], values[1]] for name, values in FRAME.items()}
    ids = [event["event_id"] for event in _events(twice)]
    assert len(set(ids)) == 3
    assert ids[1] == f"{ids[0]}#2"
    assert ids == [event["event_id"] for event in _events(pd.DataFrame(twice))]


def test_an_empty_frame() -> None:
    """It has columns, and no events; so has one without rows and types."""
    frames: list[Any] = [pd.DataFrame(FRAME)[:0], {name: [] for name in FRAME}]
    for frame in frames:
        found = _events(frame)
        assert (list(found), list(found.refused), repr(found)) == ([], [], "<FrameEvents: 0 events>")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"client": "who"}, "client: no column 'who'; there are: 'user', 'when', 'amount', 'country', 'verdict'"),
        ({"time": "t"}, "time: no column 't'"),
        ({"label": "l"}, "label: no column 'l'"),
        ({"probabilities": ["amount", "p"]}, "probabilities: no column 'p'"),
        ({"fields": {"client.ip": "ip"}}, "client.ip: no column 'ip'"),
        ({"fields": {"colour": "amount"}}, "fields: no field 'colour'; there are: client.ip, "),
        ({"columns": []}, "columns: not one is named"),
        ({"columns": None}, "say which columns are the input: nothing is known of those of model 'cards'"),
        ({"model": None}, "give either model"),
        ({"model_column": "user"}, "give either model"),
        ({"label": None}, "say where the answer is"),
        ({"frame": {**FRAME, "user": ["acme"]}}, "columns of different lengths: 'client' has 1, "),
    ],
)
def test_wrong_parameters(changes: dict[str, Any], said: str) -> None:
    """They are the caller's mistake, and the message names what exists."""
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        _events(**changes)


def test_columns_that_are_known_become_numbers() -> None:
    """In their order and with their codes, however the frame has them."""
    config = Config(models={"cards": ModelSection(columns={"country": "category", "amount": "number"})})
    events = _events(config=config)
    assert events[0]["input"]["vector"][1] == 1.5
    assert events[1]["input"]["vector"] == [None, 2.5]
    assert [event["input"] for event in _events(config=config, columns=None)] == [event["input"] for event in events]
    with pytest.raises(ValueError, match="the baseline of model 'cards' has 'country', which is not among them"):
        _events(config=config, columns=["amount"])
    strict = config.model_copy(update={"ingest": config.ingest.model_copy(update={"missing": "refuse"})})
    assert [(entry.reason, entry.line) for entry in _events(config=strict).refused] == [("not_finite", 2)]


def _table(lines: list[bytes]) -> pd.DataFrame:
    """Return a log as a frame with a column for each input, a category among them."""
    events = [json.loads(line) for line in lines]
    inputs = np.array([event["input"]["vector"] for event in events])
    frame = pd.DataFrame(inputs, columns=[f"x{at}" for at in range(inputs.shape[1])])
    return frame.assign(
        kind=np.where(inputs[:, 0] > 0.5, "high", "low"),
        user=[event["client"]["id"] for event in events],
        when=pd.to_datetime([event["time"] for event in events], utc=True, unit="ms"),
        label=[event["output"].get("label") for event in events],
        chances=[event["output"].get("probabilities") for event in events],
    )


@pytest.mark.slow
def test_a_frame_is_watched_as_a_log_is(tmp_path: Path) -> None:
    """Fit on a frame, watch another: the same alerts from events, from a log of them, and with the baseline's columns."""
    frame = _table(traffic(queries=200, innocents=12, thieves=1))
    columns = [name for name in frame.columns if name.startswith("x")] + ["kind"]
    say: dict[str, Any] = {"client": "user", "time": "when", "label": "label", "probabilities": "chances", "model": "cards"}
    events = detector.events_from(frame, columns, **say)
    assert (len(events), len(events.refused)) == (len(frame), 0)
    config = Config(engine=EngineSection(seed=3))
    history = frame[~frame["user"].str.startswith("thief")]
    log = detector.events_from(history, columns, **say).write(tmp_path / "history.jsonl")
    baseline = detector.fit_baseline(log, config)
    assert baseline.schemas["cards"].names == tuple(columns)
    watching = detector.Detector(baseline, config)
    alerts, decisions = watching.observe(events)
    encoded = detector.events_from(frame, baseline=baseline, config=config, **say)
    assert "vector" in encoded[0]["input"]
    assert encoded[0]["input"]["vector"][-1] in {1.0, 2.0}
    again = detector.Detector(baseline, config)
    assert again.observe(encoded) == (alerts, decisions)
    results = detector.replay(events.write(tmp_path / "log.jsonl"), config, baseline=baseline)
    assert [alert.user.id for alert in alerts] == list(results.alerts["client"])
    assert alerts


def test_what_cannot_be_written(tmp_path: Path) -> None:
    """It is an error of the output, with its place."""
    with pytest.raises(OutputError, match="cannot be written"):
        _events().write(tmp_path / "none" / "log.jsonl")

"""The detector over a stream: what a replay of the same log finds, in whatever form and however many calls it comes."""

import copy
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import detector
from detector.baseline.store import Baseline
from detector.config import Config, EngineSection
from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.errors import BaselineError, ConfigError, SourceError
from detector.testing import Events, traffic

CONFIG = Config(engine=EngineSection(seed=3, learning_events=64))
LINES = [*traffic(queries=60)[:200], b"", b'{"event_id": "e", "client": {"id": "acme"}}', *traffic(queries=60)[200:], b"{"]

Form = Callable[[list[bytes]], Any]


def _mappings(lines: list[bytes]) -> list[Any]:
    """Return lines as mappings where they are JSON, with arrays for lists and NaN for what is missing."""
    events: list[Any] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            events.append(line)
            continue
        if "input" in event:
            event["input"]["vector"] = np.array(event["input"]["vector"], np.float64)
        events.append(event)
    return events


FORMS: dict[str, Form] = {
    "bytes": list,
    "texts": lambda lines: [line.decode() for line in lines],
    "one text": lambda lines: b"".join(line + b"\n" for line in lines),
    "generator": iter,
    "mappings": _mappings,
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Replay the log; return the documents it wrote."""
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    log.write_bytes(b"".join(line + b"\n" for line in LINES))
    folder = log.parent / "out"
    detector.replay(log, CONFIG, out=folder)
    written = {name: (folder / f"{name}.jsonl").read_bytes().splitlines() for name in ("alerts", "decisions", "dead-letters")}
    assert written["decisions"]
    assert len(written["dead-letters"]) == 3
    return written


@settings(deadline=None, max_examples=25)
@given(
    cuts=st.lists(st.integers(0, len(LINES)), max_size=6),
    forms=st.lists(st.sampled_from(sorted(FORMS)), min_size=7, max_size=7),
)
def test_it_finds_what_a_replay_finds(replayed: dict[str, Any], cuts: list[int], forms: list[str]) -> None:
    """The same bytes, wherever the stream is cut and in whatever form the pieces come."""
    watching = detector.Detector(config=CONFIG)
    found: list[tuple[list[Alert], list[Decision]]] = []
    refused: list[DeadLetter] = []
    places = [0, *sorted(cuts), len(LINES)]
    for start, stop, form in zip(places, places[1:], forms, strict=False):
        found.append(watching.observe(FORMS[form](LINES[start:stop])))
        refused += watching.refused
    found.append(watching.finish())
    refused += watching.refused
    assert [to_json(alert) for alerts, _ in found for alert in alerts] == replayed["alerts"]
    assert [to_json(decision) for _, decisions in found for decision in decisions] == replayed["decisions"]
    dead_letters = [json.loads(dead_letter) for dead_letter in replayed["dead-letters"]]
    assert sorted((one.line, one.reason) for one in refused) == [(one["line"], one["reason"]) for one in dead_letters]


def test_a_frame_is_the_events_of_its_rows() -> None:
    """As `json_normalize` makes it, or with a column for each value of the input; empty cells are absent."""
    lines = traffic(queries=60)
    whole = pd.json_normalize([json.loads(line) for line in lines])
    spread = whole.drop(columns="input.vector").join(
        pd.DataFrame(whole["input.vector"].tolist()).rename(columns=lambda place: f"input.vector.{place}")
    )
    spread["client.organization"] = None
    spread["time"] = pd.to_datetime(spread["time"], unit="ms", utc=True)
    results = []
    for events in (lines, whole, spread):
        watching = detector.Detector(config=CONFIG)
        results.append(watching.observe(events))
        assert not watching.refused
    assert results[0][1]
    assert results[0] == results[1] == results[2]


def test_integers_stay_integers_where_other_rows_have_none() -> None:
    """Pandas makes floats of them; and nothing that the caller owns is changed."""
    lines = [json.loads(line) for line in traffic(queries=20)]
    for event in lines[::2]:
        event["status"] = 200
    lines[1]["output"]["label"] = None
    lines[1]["output"]["probabilities"] = [0.5, 0.5]
    watching = detector.Detector(config=CONFIG)
    watching.observe(pd.json_normalize(lines))
    assert not watching.refused
    frame = pd.json_normalize(lines)
    frame = frame.drop(columns=[name for name in frame.columns if name.startswith("client.")])
    frame["client"] = pd.Series([{"id": "acme"} for _ in lines])
    frame["client.organization"] = "Acme"
    before = copy.deepcopy(frame["client"].tolist())

    class Frame(pd.DataFrame):
        """As other libraries extend it."""

    watching.observe(Frame(frame))
    assert frame["client"].tolist() == before
    assert not watching.refused


def test_what_is_missing_and_what_is_infinite() -> None:
    """NaN is a missing value; an infinity is refused, and so is an input of which nothing is there."""
    watching = detector.Detector(config=CONFIG)
    event = json.loads(Events().line("acme", [0.0, 1.0], 1))
    vectors = ([np.nan, 1.0], [np.inf, 1.0], [np.nan, np.nan], [1.0, np.float32(2.0)], np.array([0.5, np.nan], np.float32))
    now = dt.datetime(2026, 5, 4, 10, 31, tzinfo=dt.UTC)
    watching.observe(
        [event | {"event_id": str(at), "time": now, "input": {"vector": vector}} for at, vector in enumerate(vectors)]
    )
    assert [(refused.line, refused.reason) for refused in watching.refused] == [(2, "not_finite"), (3, "schema")]
    watching.observe([])
    assert not watching.refused


def test_what_is_no_event_at_all() -> None:
    """It is a mistake of the caller: nothing of the call is observed."""
    watching = detector.Detector(config=CONFIG)
    good = json.loads(traffic(queries=1)[0])
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for wrong in (7, [7], [good, None], [good, {"event_id": object()}], [good, {1: {2}}], loop, [good, loop]):
        with pytest.raises((TypeError, ValueError)):
            watching.observe(wrong)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="numbered without a gap"):
        watching.observe(pd.DataFrame({"input.vector.1": [1.0]}))
    with pytest.raises(ValueError, match="name the same field"):
        watching.observe(pd.DataFrame({"client": ["acme"], "client.id": ["acme"]}))
    for columns in ({"event_id": ["e1"], 5: ["x"]}, {"client.id": ["acme"], "client": [{"type": "user"}]}):
        with pytest.raises(ValueError, match="columns"):
            watching.observe(pd.DataFrame(columns))
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    with pytest.raises(ValueError, match="too deeply"):
        watching.observe(deep)
    watching.observe(b"{")
    assert [refused.line for refused in watching.refused] == [1]


def test_the_end_of_the_stream() -> None:
    """It may be said twice; after it there is nothing to observe."""
    watching = detector.Detector(config=CONFIG)
    watching.finish()
    assert watching.finish() == ([], [])
    with pytest.raises(SourceError, match="the stream has ended"):
        watching.observe([])


def test_baselines_and_configurations_by_name(tmp_path: Path, generated_baseline: Baseline) -> None:
    """Folders and files will do, as with `replay`."""
    detector.save_baseline(generated_baseline, tmp_path / "baseline")
    (tmp_path / "detector.toml").write_text('[baseline]\npath = "baseline"\n')
    lines = [Events("alpha").line("stranger", np.full(9, 5.0) + at, 1) for at in range(60)]
    results = [
        detector.Detector(*given).observe(lines)
        for given in (
            (generated_baseline,),
            (str(tmp_path / "baseline"),),
            (None, tmp_path / "detector.toml"),
        )
    ]
    assert results[0] == results[1]
    assert [len(alerts) for alerts, _ in results] == [len(results[0][0])] * 3
    with pytest.raises(BaselineError):
        detector.Detector(tmp_path / "gone")
    with pytest.raises(ConfigError):
        detector.Detector(config=tmp_path / "gone.toml")

"""Results: what the engine found, as tables, and questions answered without a second run."""

import gc
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import detector
from detector.engine.evidence.accumulate import CHANNELS
from detector.errors import SourceError
from detector.offline import analysis
from detector.offline.analysis import tables
from detector.offline.analysis.tables import ALERTS, CLIENTS, DECISIONS, PER_EVALUATION, PER_QUERY
from detector.offline.explain import explain, to_dict
from detector.testing import watch

if TYPE_CHECKING:
    from tests.offline.conftest import Day


def test_tables_say_what_the_pipeline_found(day: "Day") -> None:
    """Alerts, decisions and clients are those of the pipeline, in its order, and the broken line is a dead-letter record."""
    seen = watch(day.lines, day.config, day.baseline)
    found = day.results
    assert found.alerts["alert_id"].tolist() == [alert.event.id for alert in seen.raised]
    assert found.alerts["queries"].tolist() == [alert.detector.queries for alert in seen.raised]
    assert found.decisions["decision_id"].tolist() == [decision.decision_id for decision in seen.decided]
    assert found.decisions["expires"].tolist() == [pd.Timestamp(str(decision.expires_at)) for decision in seen.decided]
    assert found.clients[["client", "queries", "level"]].to_numpy().tolist() == [
        [client["client"], client["queries"], client["level"]] for client in seen.reported
    ]
    assert found.dead_letters[["line", "reason"]].to_numpy().tolist() == [[len(day.lines) + 1, "json"]]
    assert {"thief-0", "thief-1"} <= set(found.decisions["client"])
    assert repr(found).startswith(f"<Results: {len(day.lines):,} events, 8 clients, ")


def test_decisions_carry_the_count_of_their_alert(day: "Day") -> None:
    """So that a table of decisions says how much had been asked."""
    merged = day.results.decisions.merge(day.results.alerts, on="alert_id", suffixes=("", "_then"))
    assert len(merged) == len(day.results.decisions) > 0
    assert merged["queries"].tolist() == merged["queries_then"].tolist()


def test_queries_tell_how_evidence_grew(day: "Day") -> None:
    """One row a query; evidence never falls and ends at what the client's row says; novelty is at evaluations alone."""
    queries, clients = day.results.queries, day.results.clients.set_index("client")
    assert tuple(queries.columns) == PER_QUERY
    assert len(queries) == len(day.lines)
    for client, own in queries.groupby("client"):
        assert own["queries"].tolist() == list(range(1, len(own) + 1))
        for name in CHANNELS:
            assert own[name].is_monotonic_increasing
            assert own[name].iloc[-1] == pytest.approx(clients.loc[str(client), name], abs=1e-4)
        evaluations = day.results.evaluations[day.results.evaluations["client"] == client]
        at_evaluations = own[own["novelty"].notna()]
        assert at_evaluations["queries"].tolist() == evaluations["queries"].tolist()
        assert at_evaluations["novelty"].tolist() == evaluations["novelty"].tolist()
        assert at_evaluations["time"].tolist() == evaluations["time"].tolist()


def test_features_at_the_last_look_are_those_of_the_client(day: "Day") -> None:
    """The table of evaluations ends with the features that the list of clients has."""
    last = day.results.evaluations.groupby("client").tail(1).set_index("client")
    for line in (day.results.folder / "clients.jsonl").read_bytes().splitlines():
        client = json.loads(line)
        for name, value in client["features"].items():
            assert last.loc[client["client"], name] == pytest.approx(value, abs=1e-4)


def test_tables_without_rows_have_their_columns() -> None:
    """So that a notebook over a quiet log does not end in a KeyError."""
    quiet = tables.alerts([])
    assert tuple(quiet.columns) == ALERTS
    assert tuple(tables.decisions([], quiet).columns) == DECISIONS
    assert tuple(tables.clients([]).columns) == CLIENTS
    assert tuple(tables.queries([]).columns) == PER_QUERY
    assert tuple(tables.evaluations([]).columns) == PER_EVALUATION
    assert str(quiet["time"].dtype).endswith("UTC]")


def test_an_explanation_is_that_of_the_command(day: "Day") -> None:
    """Made from the traces at hand, it equals the one made by running the log again."""
    for client in ("thief-0", "client-0"):
        again = explain(client, None, day.results.folder, day.config, day.baseline)
        assert to_dict(day.results.explain(client)) == to_dict(again)


def test_a_picture_is_drawn_to_a_named_file(day: "Day", tmp_path: Path) -> None:
    """A plain string is a path as well."""
    analysis.client_picture(day.results.explain("thief-0"), str(tmp_path / "thief.png"))
    assert (tmp_path / "thief.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unknown_client_is_named(day: "Day") -> None:
    """With the nearest ids."""
    with pytest.raises(SourceError, match=r"no client 'thief-7' among 8; the nearest ids: .*thief-"):
        day.results.explain("thief-7")


def test_only_named_clients_are_traced(day: "Day") -> None:
    """Their tables are the same, everything is still judged, and the others say that they were not traced."""
    found = detector.replay([day.log], day.config, baseline=day.baseline, clients={"thief-0"})
    whole = day.results.queries
    pd.testing.assert_frame_equal(found.queries, whole[whole["client"] == "thief-0"].reset_index(drop=True))
    assert len(found.alerts) == len(day.results.alerts)
    with pytest.raises(SourceError, match="client 'thief-1' was not traced"):
        found.trace("thief-1")


def test_results_leave_nothing_behind_but_what_was_asked_for(day: "Day", tmp_path: Path) -> None:
    """Without a folder the files go with the results; a folder that was named stays."""
    kept = detector.replay(day.log, day.config, baseline=day.baseline, out=tmp_path / "kept")
    passing = detector.replay(day.log, day.config, baseline=day.baseline)
    folder = passing.folder
    assert folder.is_dir()
    del kept, passing
    gc.collect()
    assert not folder.exists()
    assert (tmp_path / "kept" / "summary.json").exists()


def test_a_baseline_may_be_a_folder_and_a_configuration_a_file(day: "Day", tmp_path: Path) -> None:
    """As on the command line; the results are the same."""
    detector.save_baseline(day.baseline, str(tmp_path / "baseline"))
    file = tmp_path / "detector.toml"
    file.write_text('[baseline]\npath = "baseline"\n')
    for found in (
        detector.replay(str(day.log), str(file)),
        detector.replay(day.log, baseline=str(tmp_path / "baseline")),
        detector.replay(day.log, day.config, baseline=detector.load_baseline(str(tmp_path / "baseline"))),
    ):
        pd.testing.assert_frame_equal(found.alerts, day.results.alerts)


@pytest.mark.parametrize(
    ("log", "said"), [("-", "cannot come from standard input"), ("gone.jsonl", "gone.jsonl: no such file")]
)
def test_a_log_that_cannot_be_read_twice_is_refused(log: str, said: str) -> None:
    """Standard input and missing files, by fit and replay alike."""
    with pytest.raises(SourceError, match=said):
        detector.replay(log)
    with pytest.raises(SourceError, match=said):
        detector.fit_baseline([log])


def test_a_log_may_be_a_folder_or_a_pattern(day: "Day", tmp_path: Path) -> None:
    """As on the command line; what was answered is found again, also where the files are compressed."""
    lines = [line + b"\n" for line in day.lines]
    for number in range(2):
        (tmp_path / f"{number}.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[number::2])))
    for log in (tmp_path, f"{tmp_path}/*.gz"):
        found = detector.replay(log, day.config, baseline=day.baseline)
        pd.testing.assert_frame_equal(found.alerts, day.results.alerts)
        assert found.responses("thief-1").event_ids == day.results.responses("thief-1").event_ids


def test_the_log_is_read_again(day: "Day") -> None:
    """Inputs and answers of a client come in the order in which they counted."""
    responses = day.results.responses("thief-1")
    own = [json.loads(line) for line in day.lines if json.loads(line)["client"]["id"] == "thief-1"]
    assert list(responses.event_ids) == [event["event_id"] for event in own]
    assert np.allclose(responses.inputs, [event["input"]["vector"] for event in own])
    assert responses.outputs.argmax(axis=1).tolist() == [event["output"]["label"] for event in own]
    unsuspected = set(day.results.clients.query("level == 'allow'")["client"])
    assert len(responses.fresh_inputs) == len(responses.fresh_outputs) == 48 * len(unsuspected) > 0

"""The results of a recorded day into Elasticsearch, by the command and by what it calls."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from detector.cli import app
from detector.clock import HeldClock
from detector.config import ElasticsearchSection
from detector.contracts import DeadLetter, to_json
from detector.errors import SourceError
from detector.sinks.elastic.bulk import Bulk
from detector.sinks.elastic.connection import connect
from detector.sinks.elastic.faults import ElasticError
from detector.sinks.elastic.folder import Shipped, ship_folder
from detector.sinks.elastic.install import install
from detector.sinks.sample import TIME_MS, sample_alert, sample_decision
from detector.testing import START_MS


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a folder with three alerts and two decisions, and one line that is no alert."""
    alerts = [to_json(sample_alert(alert_id=f"a{i}", time_ms=TIME_MS + i)) for i in range(3)]
    (tmp_path / "alerts.jsonl").write_bytes(b"".join(line + b"\n" for line in alerts))
    decisions = [to_json(sample_decision(revision=i)) for i in (1, 2)]
    (tmp_path / "decisions.jsonl").write_bytes(b"".join(line + b"\n" for line in decisions))
    return tmp_path


@pytest.fixture
def namespace() -> str:
    """Return a namespace that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}"


def ship(url: str, folder: Path, namespace: str, **how: Any) -> Shipped:
    """Ship a folder."""
    section = ElasticsearchSection(hosts=(url,), timeout_seconds=30)
    with connect(section) as client:
        return ship_folder(folder, Bulk(client, section), namespace, HeldClock(START_MS), **how)


def test_once_however_often(elastic: str, results: Path, namespace: str) -> None:
    """All is written, three of it twice as alert and sample; doing it again finds all there, after a rollover too."""
    with Elasticsearch(elastic) as client:
        install(client)
        assert ship(elastic, results, namespace) == Shipped(lines=5, written=8)
        assert ship(elastic, results, namespace) == Shipped(lines=5, repeated=8)
        client.indices.rollover(alias=f"logs-detector.alert-{namespace}")
        client.indices.refresh(index=f"*-{namespace}")
        assert ship(elastic, results, namespace) == Shipped(lines=5, repeated=8)


def test_lines_that_are_never_taken(elastic: str, results: Path, namespace: str) -> None:
    """They are kept with file, line and reason, as dead letters; the others are written."""
    poison = to_json(sample_alert(alert_id="poison")).replace(b'"203.0.113.7"', b'"nowhere"')
    with (results / "alerts.jsonl").open("ab") as file:
        file.write(b"{cut off\n" + poison + b"\n")
    with Elasticsearch(elastic) as client:
        install(client)
    # The sample of the poisonous alert is fine, and its alert is what is refused.
    assert ship(elastic, results, namespace) == Shipped(lines=7, written=9, refused=2)
    letters = [DeadLetter.model_validate_json(line) for line in (results / "not-shipped.jsonl").read_bytes().splitlines()]
    assert {(letter.line, letter.reason, letter.original()) for letter in letters} == {
        (4, "json", b"{cut off"),
        (5, "schema", poison),
    }


def test_a_server_that_is_busy(elastic: str, results: Path, namespace: str, faulty_proxy: Callable[[str], Any]) -> None:
    """It is tried again a few times; then the sentence ends it, and the same can be done again later."""
    with Elasticsearch(elastic) as client:
        install(client)
    proxy = faulty_proxy(elastic)
    proxy.fault = lambda _method, _path: 503
    pauses: list[float] = []
    with pytest.raises(ElasticError, match="answers 503"):
        ship(proxy.url, results, namespace, sleep=pauses.append)
    assert len(pauses) == 4
    proxy.fault = lambda _method, _path: None
    assert ship(proxy.url, results, namespace).written == 8


def test_no_results(tmp_path: Path) -> None:
    """A folder without results is told apart from one with none in it."""
    with pytest.raises(SourceError, match=r"neither alerts.jsonl nor decisions.jsonl"):
        ship("http://127.0.0.1:1", tmp_path, "default")


def test_the_commands(elastic: str, results: Path, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`siem install` says what it did, `siem ship` how much; both for people and for scripts."""
    monkeypatch.setenv("DETECTOR_ELASTICSEARCH__HOSTS", elastic)
    monkeypatch.setenv("DETECTOR_ELASTICSEARCH__NAMESPACE", namespace)
    monkeypatch.setenv("DETECTOR_ELASTICSEARCH__TIMEOUT_SECONDS", "60")
    runner = CliRunner()
    assert runner.invoke(app, ["siem", "install"]).exit_code == 0
    told = runner.invoke(app, ["siem", "install", "--dry-run"])
    assert "index template logs-detector.alert: as it should be" in told.stdout
    listed = json.loads(runner.invoke(app, ["siem", "install", "--dry-run", "--json"]).stdout)
    assert {step["state"] for step in listed["steps"]} == {"as it should be"}
    assert "5 lines: 8 documents written, 0 were there already" in runner.invoke(app, ["siem", "ship", str(results)]).stdout
    again = json.loads(runner.invoke(app, ["siem", "ship", str(results), "--json"]).stdout)
    assert again == {"lines": 5, "written": 0, "repeated": 8, "refused": 0}

"""The results of a recorded day to receivers, by the commands and by what they call."""

import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from detector.cli import app
from detector.config import DeliveryTable, ElasticsearchSection
from detector.contracts import DeadLetter, to_json
from detector.errors import SourceError
from detector.sinks.backfill import Delivered, deliver_folder
from detector.sinks.elastic.install import install
from detector.sinks.elasticsearch import of_table
from detector.sinks.registry import receiver
from detector.sinks.sample import TIME_MS, sample_alert, sample_decision
from detector.testing import traffic


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


def ship(url: str, folder: Path, namespace: str) -> tuple[int, Delivered]:
    """Deliver a folder to an Elasticsearch; return how many lines were read and how it ended."""
    section = ElasticsearchSection(hosts=(url,), timeout_seconds=30, namespace=namespace)
    done = deliver_folder(folder, [receiver(of_table(section))])
    [delivered] = done.deliveries
    return done.lines, delivered


def outcome(delivered: int = 0, repeated: int = 0, refused: int = 0) -> Delivered:
    """Return what is expected of the delivery."""
    return Delivered("elasticsearch", delivered, repeated, refused)


def test_once_however_often(elastic: str, results: Path, namespace: str) -> None:
    """All is written, three of it twice as alert and sample; doing it again finds all there, after a rollover too."""
    with Elasticsearch(elastic) as client:
        install(client)
        assert ship(elastic, results, namespace) == (5, outcome(delivered=8))
        assert ship(elastic, results, namespace) == (5, outcome(repeated=8))
        client.indices.rollover(alias=f"logs-detector.alert-{namespace}")
        client.indices.refresh(index=f"*-{namespace}")
        assert ship(elastic, results, namespace) == (5, outcome(repeated=8))


def test_lines_that_are_never_taken(elastic: str, results: Path, namespace: str) -> None:
    """They are kept with file, line and reason, as dead letters; the others are written."""
    poison = to_json(sample_alert(alert_id="poison")).replace(b'"203.0.113.7"', b'"nowhere"')
    with (results / "alerts.jsonl").open("ab") as file:
        file.write(b"{cut off\n" + poison + b"\n")
    with Elasticsearch(elastic) as client:
        install(client)
    # The sample of the poisonous alert is fine, and its alert is what is refused.
    assert ship(elastic, results, namespace) == (7, outcome(delivered=9, refused=2))
    dead_letters = [
        DeadLetter.model_validate_json(line)
        for line in (results / "dead-letters-elasticsearch.jsonl").read_bytes().splitlines()
    ]
    assert {(dead_letter.line, dead_letter.reason, dead_letter.original()) for dead_letter in dead_letters} == {
        (4, "json", b"{cut off"),
        (5, "schema", poison),
    }


def test_a_server_that_is_busy(elastic: str, results: Path, namespace: str, faulty_proxy: Callable[[str], Any]) -> None:
    """It is tried again a few times; then the sentence ends it, and the same can be done again later."""
    with Elasticsearch(elastic) as client:
        install(client)
    proxy = faulty_proxy(elastic)
    proxy.fault = lambda _method, _path: 503
    lines, done = ship(proxy.url, results, namespace)
    assert (lines, done.delivered, done.left) == (5, 0, 5)
    assert "answers 503" in str(done.trouble)
    assert proxy.refused == 5
    proxy.fault = lambda _method, _path: None
    assert ship(proxy.url, results, namespace)[1] == outcome(delivered=8)


def test_each_receiver_for_itself(results: Path, tmp_path: Path, deaf_port: int) -> None:
    """One that is away is given up after some attempts, and the other has everything."""
    away = {"name": "away", "kind": "webhook", "url": f"http://127.0.0.1:{deaf_port}", "secret": "a secret of both sides"}
    fine = {"name": "fine", "kind": "file", "path": tmp_path / "lines", "send": "alerts"}
    done = deliver_folder(results, [receiver(DeliveryTable.model_validate(table)) for table in (away, fine)])
    assert done.lines == 5
    assert [(each.name, each.delivered, each.left) for each in done.deliveries] == [("away", 0, 5), ("fine", 3, 0)]
    assert [each.complete for each in done.deliveries] == [False, True]
    assert f"127.0.0.1:{deaf_port}" in done.deliveries[0].tell(results)
    assert (tmp_path / "lines").read_bytes() == (results / "alerts.jsonl").read_bytes()


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


def test_replay_and_run_deliver(
    elastic: str, namespace: str, tmp_path: Path, web_receiver: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`replay --deliver` and `run` deliver what they find to Elasticsearch and every delivery, and tell how it went."""
    with Elasticsearch(elastic) as client:
        install(client)
    server = web_receiver()
    log, config, out = tmp_path / "log.jsonl", tmp_path / "detector.toml", tmp_path / "results"
    log.write_bytes(b"\n".join(traffic(seed=1, innocents=3, thieves=1)) + b"\n")
    config.write_text(
        f'[elasticsearch]\nhosts = "{elastic}"\nnamespace = "{namespace}"\ntimeout_seconds = 60\n[engine]\nseed = 5\n'
        f'[[deliveries]]\nname = "hook"\nkind = "webhook"\nurl = "{server.url}"\nsecret_env = "HOOK_SECRET"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("HOOK_SECRET", "a secret that both sides know")
    runner = CliRunner()
    told = runner.invoke(app, ["replay", str(log), "-c", str(config), "--out", str(out), "--deliver", "--json"])
    assert told.exit_code == 0, told.output
    found = [line for name in ("alerts", "decisions") for line in (out / f"{name}.jsonl").read_bytes().splitlines()]
    summary = json.loads(told.stdout)
    assert summary["deliveries"]["hook"]["delivered"] == len(found) == len(server.bodies())
    assert summary["deliveries"]["elasticsearch"]["delivered"] == len(found) + summary["alerts"]
    assert "delivery 'hook'" in told.stderr
    names = {json.loads(line)["event"]["id"] for line in (out / "alerts.jsonl").read_bytes().splitlines()}
    ran = subprocess.run(
        [sys.executable, "-m", "detector", "run", str(log), "-c", str(config)], capture_output=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    assert len(server.bodies()) == 2 * len(found)
    assert there(elastic, namespace) == Counter(names)

    server.answer = lambda *_: (400, b"no", {})
    told = runner.invoke(app, ["replay", str(log), "-c", str(config), "--out", str(out), "--deliver"])
    assert told.exit_code == 1
    dead_letters = [
        DeadLetter.model_validate_json(line) for line in (out / "dead-letters-hook.jsonl").read_bytes().splitlines()
    ]
    assert sorted(dead_letter.original() for dead_letter in dead_letters) == sorted(found)
    assert there(elastic, namespace) == Counter(names)


def there(elastic: str, namespace: str) -> Counter[str]:
    """Return how often each alert is in Elasticsearch."""
    with Elasticsearch(elastic) as client:
        client.indices.refresh(index=f"logs-detector.alert-{namespace}")
        answer = client.search(index=f"logs-detector.alert-{namespace}", size=10_000, source=False)
    return Counter(hit["_id"] for hit in answer["hits"]["hits"])


def test_nowhere_to_deliver_to(tmp_path: Path) -> None:
    """Asked to deliver without a delivery, `replay` says so before it begins."""
    (tmp_path / "log.jsonl").write_bytes(b"")
    told = CliRunner().invoke(app, ["replay", str(tmp_path / "log.jsonl"), "--out", str(tmp_path / "results"), "--deliver"])
    assert "neither [elasticsearch] hosts nor [[deliveries]] is set" in str(told.exception)
    assert not (tmp_path / "results").exists()

"""The results of a run, sent to receivers of the configuration: each gets what it is meant to have, in its format."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from detector.cli import main
from detector.config import Config, DeliveryTable, load
from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.errors import ConfigError, OutputError
from detector.ingest.lines import Chunk
from detector.offline.pipeline import Pipeline
from detector.sinks.dispatch import Dispatch
from detector.sinks.formats import FORMATS
from detector.sinks.http import PostingSection
from detector.sinks.message import Document
from detector.sinks.registry import KINDS, SECTIONS, receiver
from detector.sinks.sample import sample_alert, sample_decision
from detector.sinks.stream import Both
from detector.testing import LATER_MS, HeldClock, MemorySink, traffic

SECRET = "a secret that both sides know"


def section(**settings: Any) -> DeliveryTable:
    """Return a table of the configuration."""
    return DeliveryTable(**settings)


def test_each_receiver_gets_what_it_is_meant_to_have(tmp_path: Path, documents: list[Document]) -> None:
    """Kinds and severities are filtered per receiver, and formats are its own."""
    sections = [
        section(name="all", kind="file", path=tmp_path / "all"),
        section(name="alerts", kind="file", path=tmp_path / "alerts", send="alerts", format="cef"),
        section(name="grave", kind="file", path=tmp_path / "grave", min_severity="high", format="ocsf"),
        section(name="decisions", kind="file", path=tmp_path / "decisions", send=["decisions"], format="hec"),
    ]
    dispatch = Dispatch([receiver(entry) for entry in sections], tmp_path / "left")
    alerts = [document for document in documents if isinstance(document, Alert)]
    decisions = [document for document in documents if isinstance(document, Decision)]
    dispatch.alerts(alerts)
    dispatch.decisions(decisions)
    assert dispatch.close() == []

    def lines(name: str) -> list[str]:
        return (tmp_path / name).read_text("utf-8").split("\n")[:-1]

    assert lines("all") == [to_json(document).decode() for document in (*alerts, *decisions)]
    assert len(lines("alerts")) == len(alerts)
    assert all(line.startswith("CEF:0|") for line in lines("alerts"))
    assert {json.loads(line)["severity"] for line in lines("grave")} == {"High", "Critical", "Low"}
    lifts = [line for line in map(json.loads, lines("grave")) if line["severity"] == "Low"]
    assert {line["action"] for line in lifts} == {"Allowed"}
    assert [json.loads(line)["sourcetype"] for line in lines("decisions")] == ["detector:decision"] * len(decisions)
    assert not (tmp_path / "left").exists()


def test_a_run_is_sent_as_it_goes(tmp_path: Path, web_receiver: Callable[..., Any]) -> None:
    """What the pipeline finds in a log with a thief arrives at a webhook, besides the sink that keeps it."""
    server = web_receiver()
    kept = MemorySink()
    dispatch = Dispatch([receiver(section(name="hook", kind="webhook", url=server.url, secret=SECRET))], tmp_path)
    pipeline = Pipeline(Config(), None, Both(kept, dispatch), HeldClock(LATER_MS))
    pipeline.feed(Chunk("log", 1, traffic(seed=1, innocents=3, thieves=1)))
    pipeline.finish()
    assert dispatch.close(60.0) == []
    assert kept.raised
    assert kept.decided
    sent = {body.get("decision_id") or body["event"]["id"] for body in server.bodies()}
    assert sent == {alert.event.id for alert in kept.raised} | {decision.decision_id for decision in kept.decided}


def test_what_is_not_delivered_is_kept(tmp_path: Path, deaf_port: int, web_receiver: Callable[..., Any]) -> None:
    """Refused, too much for the queue or left at the end: all of it is in the receiver's file, and it is told."""
    server = web_receiver()
    server.answer = lambda *_: (400, b"no", {})
    sections = [
        section(name="away", kind="webhook", url=f"http://127.0.0.1:{deaf_port}", secret=SECRET),
        section(name="fussy", kind="webhook", url=server.url, secret=SECRET),
        section(name="fine", kind="file", path=tmp_path / "fine"),
    ]
    dispatch = Dispatch([receiver(entry) for entry in sections], tmp_path / "left", capacity=5)
    sent = [sample_alert(alert_id=str(i)) for i in range(5)]
    dispatch.alerts(sent)
    dispatch.alerts([sample_alert(alert_id=str(i)) for i in range(5, 60)])
    told = dispatch.close(0.5)
    assert [line.split(":")[0] for line in told] == [
        "delivery 'away'",
        "delivery 'fussy'",
        *(["delivery 'fussy'"] if sum("'fussy'" in line for line in told) == 2 else []),
        *(["delivery 'fine'"] if any("'fine'" in line for line in told) else []),
    ]
    assert f"127.0.0.1:{deaf_port}" in told[0]
    for name in ("away", "fussy"):
        path = tmp_path / "left" / f"undelivered-{name}.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        dead_letters = refused(tmp_path / "left", name)
        kept = [*lines, *(dead_letter.original() for dead_letter in dead_letters)]
        assert {json.loads(line)["event"]["id"] for line in kept} == {str(i) for i in range(60)}
        assert len(kept) == 60
    assert {one.detail for one in refused(tmp_path / "left", "fussy")} == {"delivery fussy does not take it: 400 no"}
    assert all(json.loads(one.original())["event"]["id"] == str(one.line - 1) for one in refused(tmp_path / "left", "fussy"))


def test_an_end_that_is_interrupted_keeps_all(tmp_path: Path, deaf_port: int) -> None:
    """Ctrl-C while the rest is being delivered: called again, it keeps each message once."""
    away = section(name="away", kind="webhook", url=f"http://127.0.0.1:{deaf_port}", secret=SECRET)
    dispatch = Dispatch([receiver(away)], tmp_path)
    dispatch.alerts([sample_alert(alert_id=str(i)) for i in range(9)])
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dispatch.close(60.0)
    timer.join()
    assert "9 not delivered" in dispatch.close(0.0)[0]
    dispatch.close(0.0)
    assert len((tmp_path / "undelivered-away.jsonl").read_bytes().splitlines()) == 9


def refused(folder: Path, name: str) -> list[DeadLetter]:
    """Return the dead letters of a delivery."""
    path = folder / f"dead-letters-{name}.jsonl"
    return [DeadLetter.model_validate_json(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_what_cannot_be_kept_stops_the_run(tmp_path: Path, deaf_port: int) -> None:
    """When neither the receiver nor the folder takes it, the run ends with an error rather than lose it."""
    blocked = tmp_path / "left"
    blocked.write_bytes(b"")
    away = receiver(section(name="away", kind="webhook", url=f"http://127.0.0.1:{deaf_port}", secret=SECRET))
    dispatch = Dispatch([away], blocked)
    dispatch.decisions([sample_decision()])
    with pytest.raises(OutputError, match="undelivered-away"):
        dispatch.close(0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "syslog"}, r"address: Field required"),
        ({"kind": "file"}, r"path: Field required"),
        ({"kind": "webhook", "url": "https://x"}, "one of secret, secret_file and secret_env"),
        ({"kind": "splunk", "url": "https://x", "secret": "a", "secret_env": "B"}, "one of secret"),
        (
            {"kind": "file", "path": "x", "url": "https://x"},
            r"url: there is no such key; known here: format, kind, min_severity, name, path",
        ),
        ({"kind": "syslog", "address": "siem"}, "address: String should match pattern"),
        ({"kind": "webhook", "url": "siem", "secret": "x"}, "https://host/path"),
        ({"kind": "webhook", "url": "https://ann:hush@siem/x", "secret": "x"}, "holds no user and password: set secret"),
        ({"kind": "splunk", "url": "https://hush@siem", "secret": "x"}, "holds no user and password"),
        ({"kind": "webhook", "url": "https://siem:port/", "secret": "x"}, "https://host/path"),
        ({"kind": "file", "path": "x", "send": []}, "alerts, decisions or both"),
        ({"kind": "pigeon"}, "kind: there is no such kind of delivery; known: elasticsearch, file, splunk, syslog, webhook"),
        ({"kind": "elasticsearch", "hosts": "http://h"}, "hosts: write an address with scheme and port"),
        ({"kind": "file", "path": "x", "format": "pdf"}, "format: Input should be 'native'"),
        ({"kind": "file", "path": "x", "name": "My SIEM"}, "pattern"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """Each mistake of a table is named, with the place."""
    file = tmp_path / "detector.toml"
    lines = (f"{key} = {json.dumps(value)}\n" for key, value in ({"name": "siem"} | settings).items())
    file.write_text("[[deliveries]]\n" + "".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"detector\.toml:\d+: deliveries\.0[.a-z_]*: .*{message}|{message}") as caught:
        load(file, lambda: SECTIONS)
    assert "hush" not in str(caught.value)


def test_an_address_is_shown_without_what_may_be_secret(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`config check` shows scheme, host and port of a delivery; a path or a query often is the secret itself."""
    settings = tmp_path / "detector.toml"
    settings.write_text(
        """
        [[deliveries]]
        name = "chat"
        kind = "webhook"
        url = "https://hooks.example:8443/services/T0HUSH/B0?token=hush"
        secret = "hush hush hush hush"
        [[deliveries]]
        name = "splunk"
        kind = "splunk"
        url = "https://splunk.example:8088"
        secret = "hush"
        [[deliveries]]
        name = "wrong"
        kind = "webhook"
        url = "https://ann:hush@hooks.example/"
        secret = "hush hush hush hush"
        """
    )
    with pytest.raises(ConfigError, match=r"deliveries\.2.*set secret instead") as caught:
        load(settings, lambda: SECTIONS)
    assert "hush" not in str(caught.value)
    settings.write_text(settings.read_text().replace("ann:hush@", ""))
    config = load(settings, lambda: SECTIONS)
    shown = json.dumps(config.shown())
    assert "https://hooks.example:8443/***" in shown
    assert '"https://splunk.example:8088"' in shown
    assert "hush" not in shown.lower()
    assert "/services/T0HUSH/B0?token=hush" in config.delivery_secrets()
    with patch("sys.argv", ["detector", "config", "check", "-c", str(settings)]), suppress(SystemExit):
        main()
    told = capsys.readouterr()
    assert "https://hooks.example:8443/***" in told.out
    assert "hush" not in (told.out + told.err).lower()


def test_a_mistake_is_named_by_its_line(tmp_path: Path) -> None:
    """In the second of two tables, the line is that of the second."""
    file = tmp_path / "detector.toml"
    first = '[[deliveries]]\nname = "a"\nkind = "file"\npath = "x"\n\n'
    file.write_text(first + '[[deliveries]]\nname = "b"\nkind = "file"\npath = "x"\nsize = 3\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"detector\.toml:10: deliveries\.1\.size: there is no such key; known here: format"):
        load(file, lambda: SECTIONS)
    file.write_text(first + first, encoding="utf-8")
    with pytest.raises(ConfigError, match="a name of its own"):
        load(file, lambda: SECTIONS)


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from the setting, a file or the environment, are told to be missing, and are never shown."""
    kept = tmp_path / "secret"
    kept.write_text("from the file, long enough\n", encoding="utf-8")
    monkeypatch.setenv("HOOK_SECRET", "from the environment")
    given = {"name": "hook", "kind": "webhook", "url": "https://x"}
    assert PostingSection(**given, secret="as it is").secret_text() == "as it is"
    assert PostingSection(**given, secret_file=kept).secret_text() == "from the file, long enough"
    assert PostingSection(**given, secret_env="HOOK_SECRET").secret_text() == "from the environment"
    with pytest.raises(ConfigError, match="delivery 'hook': environment variable NOT_SET is not set"):
        receiver(section(**given, secret_env="NOT_SET"))
    with pytest.raises(ConfigError, match="missing"):
        receiver(section(**given, secret_file=tmp_path / "missing"))
    config = Config.model_validate({"deliveries": [{**given, "secret": "as it is"}]})
    assert "as it is" not in json.dumps(config.shown()) + repr(config)
    assert config.version == Config().version


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "webhook", "url": "https://x", "secret": "short"},
        {"kind": "splunk", "url": "https://x", "secret": "token", "ca_file": "/missing.pem"},
        {"kind": "syslog", "address": "siem:6514", "ca_file": "/missing.pem"},
    ],
)
def test_what_cannot_work_is_told_at_the_start(settings: dict[str, Any]) -> None:
    """A secret that is too short, or a certificate that is not there, is a mistake before anything is sent."""
    with pytest.raises(ConfigError, match=r"too short|missing\.pem"):
        receiver(section(name="siem", **settings))


def test_the_command_delivers(tmp_path: Path, web_receiver: Callable[..., Any]) -> None:
    """`detector run` on a log sends what it finds, keeps what was not delivered, and says so with exit status 1."""
    server, fussy = web_receiver(), web_receiver()
    fussy.answer = lambda *_: (400, b"no", {})
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join(traffic(seed=1, innocents=3, thieves=1)) + b"\n")
    config = tmp_path / "detector.toml"
    config.write_text(
        "[[deliveries]]\n"
        f'name = "hook"\nkind = "webhook"\nurl = "{server.url}"\nsecret_env = "HOOK_SECRET"\nsend = "alerts"\n'
        "[[deliveries]]\n"
        f'name = "fussy"\nkind = "webhook"\nurl = "{fussy.url}"\nsecret = "{SECRET}"\n',
        encoding="utf-8",
    )
    results = tmp_path / "results"
    done = subprocess.run(
        [sys.executable, "-m", "detector", "run", str(log), "-c", str(config), "--out", str(results)],
        capture_output=True,
        check=False,
        env={**os.environ, "HOOK_SECRET": SECRET},
    )
    alerts = [json.loads(line) for line in (results / "alerts.jsonl").read_bytes().splitlines()]
    assert server.bodies() == alerts
    kept = [dead_letter.original() for dead_letter in refused(results, "fussy")]
    assert sorted(kept) == sorted(done.stdout.splitlines())
    assert done.returncode == 1
    assert b"delivery 'fussy'" in done.stderr
    assert SECRET.encode() not in done.stdout + done.stderr


def test_the_documented_configuration_works(tmp_path: Path, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in docs/pages/alerts-and-siem.md is valid, and every kind and format is in it."""
    text = (Path(__file__).parents[2] / "docs" / "pages" / "alerts-and-siem.md").read_text("utf-8")
    token = tmp_path / "token"
    token.write_text("token", encoding="utf-8")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    example = text.split("```toml\n")[1].split("```", maxsplit=1)[0]
    example = example.replace("/etc/detector/siem-ca.pem", str(ca_file)).replace("/run/secrets/splunk-token", str(token))
    file = tmp_path / "detector.toml"
    file.write_text(example, encoding="utf-8")
    deliveries = load(file, lambda: SECTIONS).deliveries
    assert [receiver(entry).name for entry in deliveries] == [entry.name for entry in deliveries]
    assert {entry.kind for entry in deliveries} | {"elasticsearch"} == set(KINDS)
    assert [name for name in FORMATS if f"| `{name}` |" not in text] == []

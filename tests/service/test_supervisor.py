"""The supervisor: what it refuses, and that it keeps its workers running and ends them in order."""

import http.client
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from detector.baseline.store import Baseline
from detector.config import BaselineSection, Config, IngestSection, KafkaSection, ServiceSection, TopicSection
from detector.errors import ConfigError, DetectorError
from detector.offline.replay import load_baseline
from detector.service import supervisor
from detector.service.supervisor import check, member_name, serve, warm_up
from detector.service.telemetry.metrics import Metrics
from detector.service.worker import Stage
from tests.servers.process import free_port

NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Undo what serving sets up for the process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    library = logging.getLogger("kafka")
    before = (library.handlers, library.level, library.propagate)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    library.handlers, library.level, library.propagate = before
    structlog.reset_defaults()


def config(folder: Path | None = None, **kafka: Any) -> Config:
    section = KafkaSection(**{"bootstrap_servers": (NOWHERE,), "input_topics": ("log",)} | kafka)
    return Config(kafka=section, service=ServiceSection(port=0), baseline=BaselineSection(path=folder))


@pytest.mark.parametrize(
    ("settings", "stage", "words"),
    [
        ({"bootstrap_servers": ()}, Stage.ALL, "bootstrap_servers is not set"),
        ({"input_topics": ()}, Stage.ALL, "input_topics is empty"),
        ({"input_topics": ()}, Stage.INGEST, "input_topics is empty"),
        ({"input_topics": (), "keyed": True}, Stage.DETECT, "input_topics is empty"),
        ({"keyed": True}, Stage.INGEST, "run --stage detect"),
    ],
)
def test_settings_with_nothing_to_do_are_refused(settings: dict[str, Any], stage: Stage, words: str) -> None:
    """Each has its sentence, before anything is started."""
    with pytest.raises(ConfigError, match=words):
        check(config(**settings), stage)


def test_keyed_topics_of_requests_and_answers_that_are_logged_apart_are_refused() -> None:
    """Without the ingest stage nothing would hold their offsets back; a topic of another format passes."""
    apart = config(keyed=True).model_copy(update={"ingest": IngestSection(format="kserve")})
    with pytest.raises(ConfigError, match="the format kserve logs requests and answers apart"):
        check(apart, Stage.ALL)
    topics = {"log": TopicSection(format="native")}
    check(apart.model_copy(update={"ingest": IngestSection(format="kserve", topics=topics)}), Stage.ALL)


def test_settings_with_something_to_do_pass() -> None:
    """Detection alone needs no input topics; keyed topics need no ingest."""
    check(config(input_topics=()), Stage.DETECT)
    check(config(keyed=True), Stage.ALL)
    check(config(), Stage.INGEST)


def test_members_are_named_alike_at_each_start() -> None:
    """A name depends on group, host and number alone, and differs between numbers."""
    assert member_name("detector", 1) == member_name("detector", 1) != member_name("detector", 2)
    assert member_name("detector", 1).startswith("detector-")


def answer(port: int, path: str) -> tuple[int, bytes]:
    """Ask a health server; status 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def test_a_worker_that_compiles_is_alive_and_not_ready(tmp_path: Path) -> None:
    """With a cold cache it says so, on /readyz and once in its log, before it turns to the broker, which is not even there."""
    port = free_port()
    settings = {
        "XDG_CACHE_HOME": str(tmp_path),
        "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": f'["{NOWHERE}"]',
        "DETECTOR_KAFKA__INPUT_TOPICS": '["log"]',
        "DETECTOR_SERVICE__PORT": str(port),
    }
    said = tmp_path / "said"
    with said.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "detector", "run"], env=os.environ | settings, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + 120
        while answer(port, "/readyz")[0] == 0 or b"compiling kernels, once" not in said.read_bytes():
            assert worker.poll() is None, said.read_text()
            assert time.monotonic() < until, said.read_text()
            time.sleep(0.2)
        assert answer(port, "/readyz") == (503, b"not ready: compiling\n")
        assert answer(port, "/livez") == (200, b"alive\n")
        assert said.read_bytes().count(b"compiling kernels, once") == 1
        assert b"Kafka" not in said.read_bytes()
    finally:
        worker.kill()
        worker.wait()


def test_warming_up_tells_of_what_it_compiles(generated_baseline: Baseline, capsys: pytest.CaptureFixture[str]) -> None:
    """With everything cached it says nothing, and notes that the process got on."""
    warm_up(generated_baseline, Metrics())
    capsys.readouterr()
    warm_up(generated_baseline, Metrics())
    assert capsys.readouterr().out == ""


def test_one_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A missing baseline is told in its words, before the broker is asked."""
    with pytest.raises(DetectorError, match="no baseline here"):
        serve(config(tmp_path / "nowhere"), load_baseline)


@pytest.mark.slow
def test_workers_that_keep_dying_end_everything_with_their_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence of the child comes out of the parent, after as many tries as are allowed and not sooner."""
    starts: list[int] = []
    start = supervisor._Supervisor._start

    def counted(self: supervisor._Supervisor, post: supervisor._Slot) -> None:
        starts.append(post.number)
        start(self, post)

    monkeypatch.setattr(supervisor._Supervisor, "_start", counted)
    monkeypatch.setattr(supervisor, "MOST_FAILED_STARTS", 2)
    with pytest.raises(DetectorError, match="no baseline here"):
        serve(config(tmp_path / "nowhere"), load_baseline, workers=2)
    assert sorted(starts).count(0) + sorted(starts).count(1) in {3, 4}


def test_a_process_that_cannot_commit_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to stop, a worker that hangs is ended after its grace; one that ends by itself is left alone."""
    ended: list[int] = []
    monkeypatch.setattr(supervisor, "GRACE_S", 0.0)
    monkeypatch.setattr(os, "_exit", ended.append)
    stop, done = threading.Event(), threading.Event()
    stop.set()
    supervisor._enforce_grace(stop, done)
    assert ended == [1]
    done.set()
    supervisor._enforce_grace(stop, done)
    assert ended == [1]

"""The command line on Kafka: topics, producing, running as a service, dead letters."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from rich.console import Console

from detector import cli
from detector.config import load
from detector.service.kafka.connection import Connection
from detector.testing import traffic
from tests.servers.process import free_port

STARTED = 170.0  # seconds that a start may take on a very busy machine

pytestmark = pytest.mark.limit(900)


def detector(
    *arguments: str, env: dict[str, str] | None = None, patience_s: float = STARTED
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "detector", *arguments],
        capture_output=True,
        check=False,
        timeout=patience_s,
        text=True,
        env={**os.environ, **(env or {})},
    )


def wait_until(condition: Callable[[], object], why: Callable[[], str] = str) -> None:
    until = time.monotonic() + STARTED
    while not condition():
        assert time.monotonic() < until, why()
        time.sleep(0.1)


def get(port: int, path: str) -> tuple[int, str]:
    """Ask the health server; status 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


class Service:
    """A configuration of its own topics on the shared broker, and the service that runs on it."""

    def __init__(self, folder: Path, address: str, name: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = f"log-{name}"
        self.file = folder / "detector.toml"
        self.file.write_text(
            f'[kafka]\nbootstrap_servers = "{address}"\ninput_topics = "{self.log}"\nprefix = "{name}."\n'
            f'group_id = "{name}"\ncheckpoint_seconds = 0.3\n'
            f"[service]\nport = {self.port}\n[engine]\nlearning_events = 32\nseed = 5\n"
            "[policy]\nshadow = false\ntrust_clients = true\n"
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return detector(*arguments, "-c", str(self.file))

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the service; it is killed where a test fails."""
        with (
            (self.folder / "said").open("wb") as said,
            subprocess.Popen(
                [sys.executable, "-m", "detector", "run", "-c", str(self.file), *options], stdout=said, stderr=said
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def arrived(self) -> int:
        """How many records of the log are in Kafka."""
        with contextlib.closing(Connection(load(self.file).kafka).consumer()) as consumer:
            return int(consumer.end_offsets([TopicPartition(self.log, 0)])[TopicPartition(self.log, 0)])

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def until_ready(self, *ports: int) -> None:
        wait_until(lambda: all(get(port, "/readyz")[0] == 200 for port in ports or (self.port,)), self.said)


@pytest.fixture
def service(broker: str, tmp_path: Path, fresh_topic: Callable[[str], str]) -> Service:
    return Service(tmp_path, broker, fresh_topic("cli"))


def write(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["topics", "check"], 2, "bootstrap_servers is not set"),
        (["topics", "create", "--partitions", "0"], 2, "--partitions"),
        (["produce", "LOG", "--topic", "t"], 2, "bootstrap_servers is not set"),
        (["produce", "LOG", "--topic", "t", "--rate", "5", "--realtime"], 2, "exclude each other"),
        (["dead-letters", "list"], 2, "bootstrap_servers is not set"),
        (["run", "--workers", "2"], 2, "--workers are for the service on Kafka"),
        (["run", "LOG", "--stage", "detect"], 2, "--stage and --workers"),
    ],
)
def test_mistakes_without_kafka_are_told(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each mistake has its sentence and its exit status."""
    log = write(tmp_path / "log", [b"{}"])
    monkeypatch.setattr(sys, "argv", ["detector", *(str(log) if argument == "LOG" else argument for argument in arguments)])
    monkeypatch.setattr(cli, "errors", Console(stderr=True, highlight=False))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert words in " ".join(capsys.readouterr().err.split())


def test_names_in_the_environment_need_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers and topics are separated by commas, or are a JSON list."""
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", "a:1, b:2")
    monkeypatch.setenv("DETECTOR_KAFKA__INPUT_TOPICS", '["x"]')
    section = load(None).kafka
    assert (section.bootstrap_servers, section.input_topics) == (("a:1", "b:2"), ("x",))


@pytest.mark.slow
def test_a_broker_that_is_away_is_one_sentence() -> None:
    """Status 1, the address, and nothing of the client's own excitement."""
    told = detector("topics", "check", env={"DETECTOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert told.returncode == 1
    assert "127.0.0.1:1: nothing listens there" in told.stderr
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.broker
def test_topics_are_checked_and_created(service: Service) -> None:
    """Check names what is missing and the command; create makes it, twice is fine; then check is content."""
    told = service.run("topics", "check")
    assert told.returncode == 1
    assert told.stderr.count("does not exist") == 8
    assert "detector topics create" in told.stderr
    made = service.run("topics", "create", "--partitions", "2", "--inputs")
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("created ") == 9
    assert "created" not in service.run("topics", "create").stdout
    assert "2 partitions" in service.run("topics", "check").stdout


@pytest.mark.broker
def test_a_log_goes_through_the_service(service: Service, tmp_path: Path) -> None:
    """Produced lines are processed, figures and health tell so, what is broken is a dead letter; SIGTERM ends it in order."""
    service.run("topics", "create", "--partitions", "2", "--inputs")
    lines = traffic(seed=1, innocents=6, thieves=2, queries=60)
    log = write(tmp_path / "log.jsonl", [*lines, b"{broken"])
    with service.running() as process:
        service.until_ready()
        told = service.run("produce", str(log), "--topic", service.log, "--keyed", "--json")
        assert json.loads(told.stdout) == {
            "lines": len(lines) + 1,
            "bytes": sum(map(len, lines)) + 7,
            "interrupted": False,
            "problems": [],
        }
        prefix = service.log.removeprefix("log-")
        consumed = f'detector_events_consumed_total{{topic="{prefix}.queries"}} {float(len(lines))}'
        wait_until(lambda: consumed in get(service.port, "/metrics")[1], lambda: get(service.port, "/metrics")[1])
        figures = get(service.port, "/metrics")[1]
        assert 'detector_events_invalid_total{reason="json"} 1.0' in figures
        assert 'detector_decisions_total{action="block",origin="detector"}' in figures
        assert "thief-0" not in figures
        assert get(service.port, "/livez")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, service.said()
    assert "worker ended" in service.said()
    listed = [json.loads(line) for line in service.run("dead-letters", "list", "--json").stdout.splitlines()]
    assert [(entry["reason"], entry["source"][: len(service.log)]) for entry in listed] == [("json", service.log)]
    assert "json" in service.run("dead-letters", "list").stdout
    assert "would send 1 (json)" in service.run("dead-letters", "replay", "--dry-run").stdout
    assert json.loads(service.run("dead-letters", "replay", "--json").stdout)["sent"] == [
        {"topic": service.log, "reason": "json", "records": 1}
    ]


@pytest.mark.broker
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_policy_is_read_again_on_sighup(service: Service, tmp_path: Path, workers: int) -> None:
    """A file with an error changes nothing; a good one is taken by each worker, and decisions say which policy made them."""
    service.port = next(port for port in iter(free_port, None) if free_port(port + 1) == port + 1)
    good = service.file.read_text().replace("[service]\n", f"[service]\nport = {service.port}\n#")
    service.file.write_text(good)
    service.run("topics", "create", "--partitions", "2", "--inputs")

    def decided(client: str) -> list[tuple[str, str]]:
        listed = service.run("decisions", "list", "--all", "--json").stdout.splitlines()
        found = [decision for decision in map(json.loads, listed) if decision["subject"]["id"] == client]
        return [(decision["action"], decision["policy_version"]) for decision in found]

    def steal(name: str) -> None:
        lines = traffic(seed=1, innocents=6, thieves=1, queries=60)
        log = write(tmp_path / f"{name}.jsonl", [line.replace(b"thief-0", name.encode()) for line in lines])
        service.run("produce", str(log), "--topic", service.log, "--keyed")

    with service.running("--workers", str(workers)) as process:
        service.until_ready(*range(service.port, service.port + workers))
        steal("first")
        wait_until(lambda: any(action == "block" for action, _ in decided("first")), service.said)
        service.file.write_text(f"{good}never_blok = []\n")
        process.send_signal(signal.SIGHUP)
        refused = "configuration refused: the policy in force stays"
        wait_until(lambda: service.said().count(refused) == (workers if workers == 1 else workers + 1), service.said)
        assert "policy.never_blok: there is no such key" in service.said()
        service.file.write_text(f'{good}never_block = ["second"]\n')
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: service.said().count('"policy changed"') == (workers if workers == 1 else workers + 1), service.said)
        steal("second")
        wait_until(lambda: decided("second"), service.said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, service.said()
    (before,), (after,) = ({version for _, version in decided(client)} for client in ("first", "second"))
    assert before != after
    assert {action for action, _ in decided("second")} == {"throttle"}


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_workers_are_replaced_and_ended(service: Service, asked: signal.Signals) -> None:
    """Two workers share the work under ports in a row; a killed one is replaced; a signal to the parent ends all."""
    service.port = next(port for port in iter(free_port, None) if free_port(port + 1) == port + 1)
    service.file.write_text(service.file.read_text().replace("[service]\n", f"[service]\nport = {service.port}\n#"))
    service.run("topics", "create", "--partitions", "2", "--inputs")
    with service.running("--workers", "2") as process:
        service.until_ready(service.port, service.port + 1)
        started = [json.loads(line) for line in service.said().splitlines() if '"worker process started"' in line]
        assert [entry["number"] for entry in started] == [0, 1]
        os.kill(started[1]["process_id"], signal.SIGKILL)
        wait_until(lambda: service.said().count('"worker process started"') == 3, service.said)
        service.until_ready(service.port, service.port + 1)
        process.send_signal(asked)
        assert process.wait(60) == 0, service.said()
    assert "worker process died" in service.said()
    assert get(service.port, "/livez")[0] == get(service.port + 1, "/livez")[0] == 0


@pytest.mark.slow
@pytest.mark.broker
def test_ctrl_c_says_how_far_it_came(service: Service, tmp_path: Path) -> None:
    """Producing at a rate can be interrupted: the lines that are in Kafka are told, and status 130."""
    service.run("topics", "create", "--partitions", "1", "--inputs")
    log = write(tmp_path / "log.jsonl", traffic(queries=200))
    with subprocess.Popen(
        [sys.executable, "-m", "detector", "produce", str(log), "--topic", service.log, "--rate", "1", "-c", str(service.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: service.arrived() > 0)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "are in Kafka" in out
    assert f"of {log}" in out


@pytest.mark.broker
def test_a_service_that_cannot_start_says_why(service: Service) -> None:
    """Missing topics, and a port in use: status 1 and the sentence."""
    told = service.run("run")
    assert told.returncode == 1
    assert "detector topics create" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
@pytest.mark.broker
def test_a_flood_of_bad_records_is_told_and_survived(service: Service, tmp_path: Path) -> None:
    """Not ready, with the reason; alive, and still at work when it is asked to end."""
    service.run("topics", "create", "--partitions", "2", "--inputs")
    log = write(tmp_path / "log.jsonl", [b'{"number": %d}' % i for i in range(20_000)])
    assert service.run("produce", str(log), "--topic", service.log).returncode == 0
    with service.running() as process:
        wait_until(lambda: "all recent records of partition" in get(service.port, "/readyz")[1], service.said)
        assert get(service.port, "/readyz")[0] == 503
        assert get(service.port, "/livez")[0] == 200
        assert 'detector_degraded{reason="partition",stage="ingest"} 1.0' in get(service.port, "/metrics")[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "degraded: refused records are not watched" in service.said()


@pytest.mark.broker
def test_secrets_are_in_no_output(service: Service, tmp_path: Path) -> None:
    """Neither a refused login nor the configuration shown tells password, client secret or token."""
    where = json.loads(service.run("config", "check", "--json").stdout)["kafka"]["bootstrap_servers"][0]
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."
    (tmp_path / "token").write_text(token)
    env = {
        "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": where,
        "DETECTOR_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "DETECTOR_KAFKA__USERNAME": "u",
        "DETECTOR_KAFKA__PASSWORD": "hush-password",
        "DETECTOR_KAFKA__INPUT_TOPICS": "log",
        "DETECTOR_KAFKA__OAUTH__CLIENT_SECRET": "hush-secret",
        "DETECTOR_SERVICE__LOG_LEVEL": "debug",
        "DETECTOR_SERVICE__PORT": "-1",
    }
    bearer = {"DETECTOR_KAFKA__SASL_MECHANISM": "OAUTHBEARER", "DETECTOR_KAFKA__OAUTH__TOKEN_FILE": str(tmp_path / "token")}
    plain = {"DETECTOR_KAFKA__SASL_MECHANISM": "PLAIN"}
    for status, command, login in ((0, ["config", "check"], bearer), (1, ["run"], plain), (1, ["run"], bearer)):
        told = detector(*command, env=env | login)
        assert told.returncode == status
        assert "closes the connection on SASL_PLAINTEXT" in told.stderr or status == 0
        for secret in ("hush-password", "hush-secret", token):
            assert secret not in told.stdout + told.stderr

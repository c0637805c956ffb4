"""The drill against a real loop: what arrives, what is missed, who may be asked, and its end on Ctrl-C."""

import json
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
from typer.testing import CliRunner

from detector.baseline.store import Baseline
from detector.cli import app
from detector.errors import ConfigError, DrillError, EndpointError
from detector.redteam.conversation import Array
from detector.redteam.targets import named
from tests.drill.loop import Loop, closed_loop
from tests.gate.decisions import value
from tests.servers.model_server import serving

LATER_MS = 4_000_000_000_000
QUICK = ("--pool", "digits", "--wire", "decimals-4", "--rate", "60", "--seed", "3")


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, digits_baseline: Baseline) -> Iterator[Loop]:
    """Return a loop that runs for all tests here: each drill has clients of its own."""
    with closed_loop(tmp_path_factory.mktemp("loop"), digits_baseline) as running:
        yield running


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _watched(loop: Loop) -> tuple[str, ...]:
    return ("--alerts", str(loop.alerts), "--decisions", str(loop.decisions))


def _drill(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["redteam", "drill", *arguments], env={"COLUMNS": "200"})


def test_thieves_are_met_and_the_innocent_is_not(loop: Loop, tmp_path: Path) -> None:
    """All three steps arrive about each, in their order, and the report is written."""
    report = tmp_path / "drill.md"
    done = _drill(
        "line_search", "uniform", "--url", loop.url, *QUICK, *_watched(loop), "--innocent-queries", "40",
        "--out", str(report), "--json",
    )  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads(done.stdout)
    for thief in found["thieves"]:
        steps = {one["step"]: one for one in thief["arrivals"]}
        assert list(steps) == ["alert", "decision", "enforced"]
        assert steps["alert"]["detector_queries"] <= steps["alert"]["queries"]
        assert steps["enforced"]["queries"] == thief["queries"] or thief["refused"] or thief["coarse"]
        assert thief["missing"] == []
        assert thief["answered"] + thief["refused"] == thief["queries"]
    (innocent,) = found["innocents"]
    assert innocent["left_alone"]
    assert (innocent["queries"], innocent["answered"]) == (40, 40)
    assert found["problems"] == []
    assert report.read_text().startswith("# Drill: as expected")
    assert "line_search" in done.stderr


def test_perturbed_answers_are_noticed(loop: Loop) -> None:
    """A person decides it while the thief asks: the gateway goes on answering, and tells less."""
    name = "told-less"
    decided = value(name, "perturb", models=("digits",), origin="manual", issued_ms=now_ms(), expires_ms=LATER_MS) + b"\n"

    def decide() -> None:
        while loop.requests.get(name, 0) < 12:
            time.sleep(0.01)
        with loop.decisions.open("ab") as file:
            file.write(decided)

    person = threading.Thread(target=decide)
    loop.detects = False
    person.start()
    try:
        done = _drill(
            "jbda", "--url", loop.url, *QUICK, "--decisions", str(loop.decisions), "--thief", f"{name}=X-Client-Id: {name}",
            "--innocent-queries", "1", "--json",
        )  # fmt: skip
    finally:
        loop.detects = True
        person.join()
    assert done.exit_code == 0, (done.output, done.exception)
    (thief,) = json.loads(done.stdout)["thieves"]
    decision, enforced = thief["arrivals"]
    assert decision["told"].startswith("perturb")
    assert enforced["told"] == "answers tell less"
    assert thief["refused"] == 0
    assert thief["coarse"] == 1


def test_a_gateway_that_does_not_obey_is_found(loop: Loop) -> None:
    """Alert and decision arrive, and nothing comes of them."""
    loop.obeys = False
    try:
        done = _drill("line_search", "--url", loop.url, *QUICK, *_watched(loop), "-n", "60", "--patience", "0.5")
    finally:
        loop.obeys = True
    assert isinstance(done.exception, DrillError)
    assert "nothing was refused to him or kept from him" in str(done.exception)
    assert "no alert" not in str(done.exception)
    assert "MISSING" in done.output


def test_a_log_that_is_not_read_is_found(loop: Loop) -> None:
    """Nothing arrives; what is not expected is not missed."""
    loop.detects = False
    try:
        arguments = ("line_search", "--url", loop.url, *QUICK, *_watched(loop), "-n", "20", "--patience", "0.2")
        done = _drill(*arguments, "--expect", "alert", "--innocent-queries", "5")
    finally:
        loop.detects = True
    assert isinstance(done.exception, DrillError)
    assert "no alert arrived" in str(done.exception)
    assert "no decision" not in str(done.exception)


def test_a_client_who_is_refused_from_the_beginning_is_named(loop: Loop) -> None:
    """The thief of the first test, by name: the decision about him is still in force."""
    name = next(json.loads(line)["subject"]["id"] for line in loop.decisions.read_bytes().splitlines() if b'"block"' in line)
    login = f"{name}=X-Client-Id: {name}"
    arguments = ("--url", loop.url, *QUICK, *_watched(loop), "--patience", "0", "--innocent-queries", "1")
    done = _drill("line_search", *arguments, "--thief", login)
    assert isinstance(done.exception, DrillError)
    assert "the first query was refused with 403" in str(done.exception)
    done = _drill("line_search", *arguments, "--innocent", login)
    assert isinstance(done.exception, EndpointError)
    assert f"refused the innocent '{name}' with 403" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--url", "http://192.0.2.1:1/"), "--i-own-this"),
        (("--url", "file:///etc/passwd"), "http://host:port/path"),
        (("--url", "http://[::1"), "is no address"),
        (("--url", "http://no-such-host.invalid/"), "has no address"),
        (("--url", "http://127.0.0.1:1/", "--expect", "alert"), "name --alerts FILE, or --kafka"),
        (("--url", "http://127.0.0.1:1/", "--expect", "fame"), "--expect takes"),
        (("--url", "http://127.0.0.1:1/", "--thief", "acme"), "takes the client's name and a header"),
        (("--url", "http://127.0.0.1:1/", "--thief", "a=X: y", "--thief", "b=X: y"), "given 2 times, for 1"),
        (("--url", "http://127.0.0.1:1/", "--thief", "a=X: y", "--innocent", "a=X: y"), "two clients are called"),
        (("--url", "http://127.0.0.1:1/", "--kafka"), "bootstrap_servers is not set"),
        (("--url", "http://127.0.0.1:1/", "--alerts", "/nowhere/at/all"), "there is no such file"),
        (("--url", "http://127.0.0.1:1/", "--categorical", "a"), "column numbers"),
        (("--url", "http://127.0.0.1:1/", "--benign", "nobody"), "cannot be reached"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], said: str) -> None:
    """Before anybody is asked, with what to do."""
    done = _drill("jbda", "--pool", "digits", *arguments)
    assert isinstance(done.exception, ConfigError | EndpointError)
    assert said in str(done.exception)


def test_an_attack_that_is_unknown_is_named(loop: Loop) -> None:
    """As `redteam run` does."""
    done = _drill("jbdda", "--url", loop.url, "--pool", "digits")
    assert isinstance(done.exception, ConfigError)
    assert "there is no attack 'jbdda'" in str(done.exception)


def test_ctrl_c_reports_what_was_seen(loop: Loop) -> None:
    """Nothing hangs, and the exit status is that of an interruption."""
    command = [sys.executable, "-m", "detector", "redteam", "drill", "line_search", "--url", loop.url, *QUICK]
    with subprocess.Popen(
        [*command, *_watched(loop), "--innocent-queries", "100000", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # else it may be ignored
    ) as drill:
        assert drill.stderr is not None
        for line in drill.stderr:
            if b"enforced after" in line:
                drill.send_signal(signal.SIGINT)
                break
        out, said = drill.communicate(timeout=60)
    assert drill.returncode == 130, said.decode()
    found = json.loads(out)
    assert found["interrupted"]
    assert [one["step"] for one in found["thieves"][0]["arrivals"]] == ["alert", "decision", "enforced"]


@pytest.mark.parametrize("age_ms", [3_600_000, 0])
def test_what_an_earlier_drill_left_does_not_count(tmp_path: Path, age_ms: int) -> None:
    """A replay writes the decisions of before once more, about the same login."""
    decisions, digits = tmp_path / "decisions.jsonl", named("digits")

    def answer(X: Array) -> Array:
        if not decisions.exists():
            decisions.write_bytes(value("acme", issued_ms=now_ms() - age_ms, expires_ms=LATER_MS) + b"\n")
        return digits.predict(X)

    with serving(answer) as served:
        done = _drill(
            "uniform", "--url", served.v1, *QUICK, "--decisions", str(decisions), "--expect", "decision", "--budget", "5",
            "--innocent-queries", "2", "--thief", "acme=X-Client-Id: acme", "--patience", "0.3", "--json",
        )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["older"], len(found["problems"])) == ((1, 1) if age_ms else (0, 0))
    assert isinstance(done.exception, DrillError) == bool(age_ms)


def test_an_endpoint_that_refuses_everybody_is_named(tmp_path: Path) -> None:
    """Before the drill: a refusal of the innocent is no success."""
    with serving(named("digits").predict, too_many=1000) as served:
        done = _drill("uniform", "--url", served.v1, *QUICK, "--alerts", str(tmp_path / "alerts.jsonl"))
    assert isinstance(done.exception, EndpointError)
    assert "429 before the drill began" in str(done.exception)

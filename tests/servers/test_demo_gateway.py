"""The demo behind a gateway, small: real nginx or Envoy, Kafka, service, gate and proxy; and its end on Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.console import Console
from tests.servers.demo_gateway import Plan, show
from tests.servers.gateways.gateway import LocalGateway
from tests.servers.gateways.programs import LocalEnvoy, LocalNginx

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.usefixtures("kafka_can_run")]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the baseline is made once."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.parametrize("kind", [LocalNginx, LocalEnvoy], ids=lambda kind: kind.NAME)
def test_thieves_are_met_while_they_ask_and_innocents_are_not(
    folder: Path, kind: type[LocalGateway], installed: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One is throttled, one is perturbed or blocked, and both take few answers after the deciding query with them."""
    installed(kind)
    plan = Plan(("uniform", "jbda"), ("jbda",), ("steady", "noisy_sensor"), budget=200, innocent_queries=30, kind=kind)
    with (folder / "progress.txt").open("w") as heard:
        outcome = show(folder, Console(file=heard, width=200), as_json=True, plan=plan)
    assert outcome.kept
    uniform, jbda = outcome.paced
    assert uniform.actions == ("throttle",)
    assert set(jbda.actions) & {"perturb", "block"}
    for thief in (*outcome.paced, *outcome.hasty, *outcome.capped):
        assert (thief.decided_at or 99) <= 32
        assert thief.answers == (thief.decided_at or 0) + (thief.past or 0) + thief.coarse
    assert all(thief.answers < thief.budget for thief in (*outcome.paced, *outcome.capped))
    assert (outcome.capped[0].past or 0) <= 20
    assert sum(each.answered for each in outcome.innocents) == 6 * 30
    assert json.loads(capsys.readouterr().out)["paced"][0]["client"] == "thief-uniform"


def test_ctrl_c_ends_it_and_leaves_nothing(folder: Path, tmp_path: Path, installed: Callable[[Any], None]) -> None:
    """Neither a process nor a temporary folder."""
    installed(LocalNginx)
    demo = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.demo", "gateway", "--out", str(folder)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "200"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # else it may be ignored
    )
    watch = threading.Timer(PATIENCE_S, demo.kill)
    watch.start()
    said = b""
    with demo:
        for line in demo.stderr or ():
            said += line
            if b"thieves ask" in line:
                assert _processes(tmp_path), "the servers run"
                demo.send_signal(signal.SIGINT)
    watch.cancel()
    assert demo.returncode == 130, said.decode()
    assert b"interrupted" in said
    assert not _processes(tmp_path)
    assert not list(tmp_path.glob("detector-*"))


def _processes(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            content = path.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if str(folder).encode() in content:
            found.append(content.replace(b"\0", b" ").decode(errors="replace"))
    return found

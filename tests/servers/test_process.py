"""Ports and processes."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.servers.process import end, free_port, is_running, last_words

SLEEP = "import signal, sys, time; {} print('on', flush=True); time.sleep(60)"


def _sleeper(mark: str, prelude: str = "") -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SLEEP.format(prelude), mark], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_taken_port_is_not_given_out() -> None:
    """The preferred port comes when it is free, another when it is not."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
    assert free_port(port, {port}) != port


def test_ports_lie_outside_the_range_for_outgoing_connections() -> None:
    """Else a client that keeps trying may be given its server's port while that is down."""
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = map(int, limits.read_text().split()) if limits.exists() else (49152, 65535)
    assert not low <= free_port() <= high


def test_only_a_process_of_the_same_mark_is_ours() -> None:
    """A process id that went to another program is left alone."""
    with _sleeper("--of-folder-a") as process:
        assert is_running(process.pid, "--of-folder-a")
        assert not is_running(process.pid, "--of-folder-b")
        end(process.pid, "--of-folder-b")
        assert process.poll() is None
        end(process.pid, "--of-folder-a")
        assert process.wait() == -signal.SIGTERM


def test_a_deaf_process_is_killed() -> None:
    """One that does not heed SIGTERM gets SIGKILL after a while."""
    with _sleeper("--deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN);") as process:
        end(process.pid, "--deaf", patience_s=0.1)
        assert process.wait() == -signal.SIGKILL


def test_the_guard_ends_what_a_killed_parent_leaves(tmp_path: Path) -> None:
    """A test run that is killed leaves neither a server nor its folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    parent = f"""
        import subprocess, sys, time
        from pathlib import Path
        from tests.servers.process import Guard
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "--guarded"])
        guard = Guard(child.pid, Path({str(folder)!r}))
        print(child.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(parent)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert is_running(child, "--guarded")
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while (is_running(child, "--guarded") or folder.exists()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(child, "--guarded")
    assert not folder.exists()


def test_last_words_are_those_that_tell() -> None:
    """Of thousands of lines only errors and their causes are shown; without any, the last lines."""
    log = b"INFO a\n[main] ERROR kafka.X - broken\n\tat java.Y\nCaused by: java.Z: taken\nINFO b\n"
    assert last_words(log) == "  [main] ERROR kafka.X - broken\n  Caused by: java.Z: taken"
    assert last_words(b"one\ntwo\nthree", lines=2) == "  two\n  three"

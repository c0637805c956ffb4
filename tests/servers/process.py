"""Server processes: their ports, their logs, their end."""

import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from os import kill
from pathlib import Path

from detector.errors import ServerError

# Below the range from which systems give ports to outgoing connections: while a server is down, a client that keeps trying
# must not be given the server's own port as the local end of its connection, or the server could not come back.
_PORTS = range(20_000, 32_000)

_CAUSE = re.compile(r"Caused by:|Exception in |[\w.$]+(Exception|Error)\b")


def free_port(preferred: int | None = None, taken: Collection[int] = ()) -> int:
    """Return a port of 127.0.0.1 that is free now: `preferred` if it is, else any, but none of `taken`.

    Another process may take it before it is used, so callers try again with another one. Raises `ServerError` where none is.
    """
    candidates = [] if preferred is None else [preferred]
    candidates += random.SystemRandom().sample(_PORTS, 200)
    for port in candidates:
        if port not in taken and _is_free(port):
            return port
    raise ServerError("none of 200 ports tried on 127.0.0.1 is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still fading away counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_running(process_id: int, mark: str) -> bool:
    """Whether the process runs and has `mark` in its command line; a number used again by another program does not count."""
    if sys.platform == "linux":
        with suppress(OSError):
            return mark.encode() in Path(f"/proc/{process_id}/cmdline").read_bytes()
        return False
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(process_id)], capture_output=True, check=False)
    return mark.encode() in shown.stdout


def end(process_id: int, mark: str, patience_s: float = 20.0) -> None:
    """End the process, if it has `mark` in its command line: ask it to, and after `patience_s` seconds do not ask."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_running(process_id, mark):
            return
        with suppress(ProcessLookupError):
            kill(process_id, number)
        until = time.monotonic() + patience_s
        while is_running(process_id, mark) and time.monotonic() < until:
            time.sleep(0.05)


class Guard:
    """Ends a process and removes a folder should this process die in whatever way, even killed at once.

    A shell waits for the end of a pipe that only this process (and what it forks) holds open.
    """

    _SCRIPT = 'read -r _; kill -9 "$1"; [ -z "$2" ] || { sleep 1; rm -rf -- "$2"; }'

    def __init__(self, process_id: int, folder: Path | None = None) -> None:
        """Guard the process, and the folder if one is given."""
        self._shell = subprocess.Popen(
            [shutil.which("sh") or "/bin/sh", "-c", self._SCRIPT, "guard", str(process_id), str(folder or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def leave(self) -> None:
        """Guard no longer, because the process has ended or is about to."""
        self._shell.kill()
        self._shell.communicate()


def last_words(log: bytes, lines: int = 10) -> str:
    """Return the lines of a Java server's log that say why it failed, or its last ones where none does."""
    text = log.decode(errors="replace").splitlines()
    telling = [line for line in text if " ERROR " in line or _CAUSE.match(line)]
    return "\n".join(f"  {line[:300]}" for line in (telling or text)[-lines:])

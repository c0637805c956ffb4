# ruff: noqa: INP001  # a script, not part of a package
"""Check the packages of the image for known vulnerabilities; skipped where the database cannot be reached.

    python deploy/audit.py deploy/requirements.lock

Exit status: 0 nothing found, or skipped; 1 vulnerabilities found, listed on standard output.
"""

import socket
import subprocess
import sys
from pathlib import Path

DATABASE = ("pypi.org", 443)
REACH_S = 3.0
LIMIT_S = 120
SKIPPED = "pip-audit: vulnerability database not reachable, skipped"
FOUND = "known vulnerabilit"
UNREACHABLE = ("ConnectionError", "Max retries exceeded", "ServiceError", "timed out", "could not be audited", "ProxyError")


def reachable() -> bool:
    """Return whether the server of the database accepts connections."""
    try:
        socket.create_connection(DATABASE, timeout=REACH_S).close()
    except OSError:
        return False
    return True


def audit(lock: Path) -> int:
    """Audit a lock file; return the exit status."""
    if not reachable():
        sys.stdout.write(f"{SKIPPED}\n")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--require-hashes", "--disable-pip", "--strict"]
    command += ["--timeout", "5", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)  # noqa: S603  # our own
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"{SKIPPED}\n")
        return 0
    output = done.stdout + done.stderr
    if done.returncode and FOUND not in output and any(words in output for words in UNREACHABLE):
        sys.stdout.write(f"{SKIPPED}\n")
        return 0
    sys.stdout.write(output)
    return done.returncode


if __name__ == "__main__":
    sys.exit(audit(Path(sys.argv[1])))

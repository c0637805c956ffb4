"""Virtual environments for servers whose requirements contradict each other's, and ours: one each, made once.

``<name>.in`` says what a server needs, ``<name>.txt`` pins all that comes with it (``make lock`` writes it). An environment is
built beside its place and moved there when it is whole, so what an interrupted build left is never used.
"""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from detector.errors import ServerError
from tests.servers.cache import cache_folder, locked
from tests.servers.process import last_words

__all__ = ["environment", "pins_of"]

_PATIENCE_S = 900.0  # for the packages of one server, over a slow network


def pins_of(name: str) -> Path:
    """Return the file that pins the packages of a server."""
    return Path(__file__).with_name(f"{name}.txt")


def environment(name: str, program: str, tell: Callable[[str], None]) -> Path:
    """Return the ``python`` of the environment of a server, made first where it is missing; `tell` hears of that.

    `program` is what the server is called in messages. Another version of Python or other pins make another environment.
    Raises `ServerError` where it cannot be made: no ``uv``, no network, a full disk, or packages that this Python cannot have.
    """
    base = cache_folder(f"serving/{name}")
    home = base / _key(pins_of(name))
    with locked(base):
        if not home.exists():
            tell(f"installing {program} with its packages into {home}, once (some minutes over a slow network)")
            with tempfile.TemporaryDirectory(dir=base) as fresh:
                _build(Path(fresh) / "built", pins_of(name), program)
                (Path(fresh) / "built").rename(home)
    return home / "bin" / "python"


def _key(pins: Path) -> str:
    made_for = f"{sys.implementation.name} {platform.python_version()} {sys.base_prefix}".encode()
    return hashlib.sha256(made_for + pins.read_bytes()).hexdigest()[:16]


def _build(folder: Path, pins: Path, program: str) -> None:
    uv = _uv(program)
    python = str(folder / "bin" / "python")
    for command in (
        [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "--requirement", str(pins)],
    ):
        _run(command, program)


def _uv(program: str) -> str:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - needed for the first start only

        return find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ServerError(f"{program} cannot be installed without the package uv: pip install uv") from error


def _run(command: list[str], program: str) -> None:
    apart = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    try:
        done = subprocess.run(command, env=apart, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{program} cannot be installed: {error}") from error
    if done.returncode != 0:
        raise ServerError(
            f"{program} cannot be installed (the network is needed once), uv says:\n{last_words(done.stderr, lines=5)}"
        )

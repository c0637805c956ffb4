"""Java programs from Maven Central, pinned by their SHA-256.

A pin file names every jar of a program, one a line: SHA-256, then ``group:artifact:version``. What it names is fetched once;
what lies in the cache is verified at every start (tens of milliseconds), so a jar cut off by an interrupted download or changed
by anybody is fetched again and never run.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detector.distribution import install
from detector.errors import ServerError
from tests.servers.cache import cache_folder, locked


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of a Java program, by its Maven coordinates."""

    sha256: str
    group: str
    artifact: str
    version: str

    def path(self, folder: Path) -> Path:
        """Return where it lies in a Maven repository in `folder`."""
        return folder.joinpath(*self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}.jar")


def read_pins(pins: Path) -> list[Jar]:
    """Return the jars that a pin file names; ``#`` begins a comment."""
    lines = [line.split() for line in pins.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [Jar(sha256, *coordinates.split(":")) for sha256, coordinates in lines]


def fetch(program: str, pins: Path, tell: Callable[[str], None]) -> list[Path]:
    """Return the jars of `program`, fetched first where the cache does not hold them; `tell` hears how that goes.

    Raises `ServerError` where they cannot be had: no network, no ``jgo``, or contents that are not the pinned ones.
    """
    jars = read_pins(pins)
    folder = cache_folder("maven")
    with locked(folder):
        missing = [jar for jar in jars if _digest(jar.path(folder)) != jar.sha256]
        if missing:
            tell(f"fetching {program} from Maven Central, once, into {folder}")
        for done, jar in enumerate(missing, start=1):
            _fetch_one(jar, folder, program)
            if done % 10 == 0:
                tell(f"fetched {done} of {len(missing)} jars")
    return [jar.path(folder) for jar in jars]


def _fetch_one(jar: Jar, folder: Path, program: str) -> None:
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - needed only until everything is fetched
    except ImportError as error:
        raise ServerError(f"{program} cannot be fetched without the package jgo: {install('local')}") from error
    path = jar.path(folder)
    try:
        path.unlink(missing_ok=True)
        MavenContext(repo_cache=folder).project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except (OSError, RuntimeError) as error:
        raise ServerError(
            f"{program} cannot be fetched (the network is needed once; afterwards it is kept in {folder}): {error}"
        ) from error
    found = _digest(path)
    if found != jar.sha256:
        path.unlink(missing_ok=True)
        raise ServerError(
            f"{path.name} as fetched from Maven Central is damaged or not the original: SHA-256 {found}, not {jar.sha256}"
        )


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None

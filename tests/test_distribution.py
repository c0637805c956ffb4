"""One name in the index, one version, and what a wheel of them holds."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import detector
from detector.distribution import DISTRIBUTION, VERSION, install

ROOT = Path(__file__).parents[1]
FOLDERS = ("deploy", "detector", "notebooks", "schemas", "tests")
STRANGER = re.compile(r"(?<![\w-])detector\[|(?:pip3? install|uv add) (?:-\S+ )*['\"]?detector(?![\w-]|\.\w)")
"""What installs, or names an extra of, the project of that name in the public index, which is not ours."""
PIP = "pip install"


def project() -> dict[str, Any]:
    """Return what ``pyproject.toml`` says of the project."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every text of the repository."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in paths:
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # pictures and compiled files
            continue


def extras() -> set[str]:
    """Return the names of all extras."""
    return set(project()["optional-dependencies"])


def test_the_name_is_that_of_the_project() -> None:
    """What the hints name is what is built."""
    assert project()["name"] == DISTRIBUTION


def test_the_version_is_told_everywhere() -> None:
    """There is one, which the build reads where the package does."""
    assert "version" in project()["dynamic"]
    assert detector.__version__ == VERSION
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


@pytest.mark.parametrize(
    "words", [f"{PIP} detector", f"{PIP} -U 'detector>=0.1'", "'detector" + "[art]'", f"{PIP} 'detector" + "[art]'"]
)
def test_a_hint_that_fetches_a_stranger_is_found(words: str) -> None:
    """The check below sees what it is there for."""
    assert STRANGER.search(f"needs it: {words}.")


def test_no_text_installs_the_project_of_somebody_else() -> None:
    """Neither documents nor notebooks nor messages name the package where the index would fetch another one's."""
    seen = dict(texts())
    assert {"README.md", "detector/__init__.py", "notebooks/tune_detectors.ipynb", "deploy/Dockerfile"} <= {*map(str, seen)}
    assert [(str(path), found[0]) for path, text in seen.items() if (found := STRANGER.search(text))] == []


def test_every_hint_names_an_extra_that_there_is() -> None:
    """Also those in documents, which are written by hand."""
    named = set()
    for path, text in texts():
        named |= set(re.findall(rf"{DISTRIBUTION}\[([\w,-]+)\]", text))
        if path.parts[0] == "detector" and path.suffix == ".py":
            named |= set(re.findall(r"\binstall\(['\"](\w+)['\"]\)", text))
    assert named
    assert named <= extras()
    assert install("art") == f"{PIP} '{DISTRIBUTION}[art]'"


def test_the_wheel_is_typed_and_complete(tmp_path: Path) -> None:
    """It bears name and version, says that it is typed, has the command, and holds every file of the package and no other."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    stem = f"{DISTRIBUTION.replace('-', '_')}-{VERSION}"
    assert wheel.name == f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as held:
        names = {name for name in held.namelist() if not name.startswith(f"{stem}.dist-info/")}
        told = Parser().parsestr(held.read(f"{stem}.dist-info/METADATA").decode())
        entries = held.read(f"{stem}.dist-info/entry_points.txt").decode()
    files = (path for path in (ROOT / "detector").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert "detector/py.typed" in names
    assert (told["Name"], told["Version"]) == (DISTRIBUTION, VERSION)
    assert "detector = detector.cli:main" in entries

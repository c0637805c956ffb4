"""What the documents name is there: files, targets of the Makefile, marks of tests, numbers of formats."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for pattern in ("*.md", "deploy/**/*.md") for path in ROOT.glob(pattern))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every link within the repository names a file or folder that is there."""
    document = ROOT / name
    targets = re.findall(r"\]\(([^)\s#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (document.parent / target).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_make_are_there(name: str) -> None:
    """Whatever is to be made can be made."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


def test_marks_are_told() -> None:
    """CONTRIBUTING.md lists the marks of the tests, all of them and no other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    marks = {line.partition(":")[0] for line in settings["markers"]}
    table = CONTRIBUTING.partition("| mark |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == marks


def test_formats_are_told() -> None:
    """Each number of a format that CONTRIBUTING.md names stands in the file that it names."""
    numbers = re.findall(r"`([A-Z_]+)`, `detector/([\w/]+)\.py`", CONTRIBUTING)
    assert len(numbers) == 4
    for number, file in numbers:
        assert isinstance(getattr(import_module(f"detector.{file.replace('/', '.')}"), number), int)

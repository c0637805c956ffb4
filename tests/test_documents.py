"""What the documents name is there: files, targets of the Makefile, commands, metrics, marks of tests, numbers of formats."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

from detector.cli import app
from detector.config import (
    BaselineSection,
    ClientRule,
    CostSection,
    DeliverySection,
    ElasticsearchSection,
    EngineSection,
    GateSection,
    IngestSection,
    IntakeSection,
    KafkaSection,
    MappingSection,
    ModelSection,
    OAuthSection,
    PolicySection,
    RegistrySection,
    ServiceSection,
    TopicSection,
)

ROOT = Path(__file__).parents[1]
PATTERNS = ("*.md", "deploy/**/*.md", "docs/**/*.md")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern))
PAGES = ROOT / "docs" / "pages"
SECTIONS: tuple[type[BaseModel], ...] = (
    BaselineSection,
    CostSection,
    ModelSection,
    PolicySection,
    EngineSection,
    KafkaSection,
    OAuthSection,
    RegistrySection,
    ServiceSection,
    IntakeSection,
    GateSection,
    IngestSection,
    TopicSection,
    ClientRule,
    MappingSection,
    ElasticsearchSection,
    DeliverySection,
)
SOURCES = (".py", ".md", ".toml", ".yaml", ".yml", ".ipynb", ".ndjson", "Dockerfile", "Makefile")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """Every link within the repository names a file or folder that is there."""
    document = ROOT / name
    targets = re.findall(r"\]\(([^)\s#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (document.parent / target).exists()] == []


def test_links_of_the_file_system_lead_somewhere() -> None:
    """Folders of deploy/ that lie within the package are still there."""
    links = [path for path in (ROOT / "deploy").iterdir() if path.is_symlink()]
    assert links
    assert [path.name for path in links if not path.exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_make_are_there(name: str) -> None:
    """Whatever is to be made can be made."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_are_there(name: str) -> None:
    """Whatever is to be typed is a command, with the options that it is given."""
    text = re.sub(r"\\\n *", "", (ROOT / name).read_text(encoding="utf-8"))  # a command of several lines is one
    for line in re.findall(r"(?:`|^ +|^|[$=] )(?:\.venv/bin/)?detector ((?:[a-z-]+ ?)[^`\n#]*)", text, re.MULTILINE):
        words = line.split()
        command: Any = get_command(app)
        while words and hasattr(command, "commands") and not (words[0].startswith("-") and command.invoke_without_command):
            named = words.pop(0)
            assert named in command.commands, line
            command = command.commands[named]
        given = {word.partition("=")[0] for word in words if re.match(r"-{1,2}[a-z]", word)}
        known = {
            option for parameter in getattr(command, "params", ()) for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert given <= known | {"-h", "--help"}, line


def test_the_readme_is_short() -> None:
    """What does not fit on one page belongs into docs/pages."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 128] == []


def test_every_page_is_in_the_navigation() -> None:
    """And the navigation names no page that is not there."""
    pages = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")}
    named = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name in named if not name.startswith("repository/")} == pages


def test_files_that_code_points_to_are_there() -> None:
    """Comments, messages and settings name documents by their path from the top."""
    files = (path for folder in ("detector", "tests", "deploy", "notebooks") for path in (ROOT / folder).rglob("*"))
    for file in (*files, ROOT / "CHANGELOG.md"):
        if file.name.endswith(SOURCES):
            for named in re.findall(r"\b(?:docs/pages|deploy)/[\w/-]+\.md\b", file.read_text(encoding="utf-8")):
                assert (ROOT / named).is_file(), f"{file}: {named}"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_configuration_is_explained(section: type[BaseModel]) -> None:
    """The page about the configuration is made of these descriptions."""
    bare = [key for key, entry in section.model_fields.items() if not entry.description]
    assert bare == (["oauth", "registry"] if section is KafkaSection else [])  # which are sections of their own


def test_every_metric_is_explained() -> None:
    """The page about Kafka names each metric that there is, and no other."""
    said = re.findall(r"`(detector_\w+)", (PAGES / "kafka.md").read_text(encoding="utf-8"))
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "detector").rglob("*.py"))
    written = set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(detector_\w+)"', code))
    assert set(said) == written


def test_modules_are_there() -> None:
    """Whatever is to be run with python -m is a module, or a package that can be run."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    modules = {module for text in texts for module in re.findall(r"python -m ((?:detector|tests)[\w.]*)", text)}
    assert modules
    places = [ROOT / module.replace(".", "/") for module in modules]
    assert [one for one in places if not one.with_suffix(".py").is_file() and not (one / "__main__.py").is_file()] == []


def test_marks_are_told() -> None:
    """CONTRIBUTING.md lists the marks of the tests, all of them and no other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    marks = {line.partition(":")[0] for line in settings["markers"]}
    table = CONTRIBUTING.partition("| mark |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == marks


def test_formats_are_told() -> None:
    """Each number of a format that CONTRIBUTING.md names stands in the file that it names."""
    numbers = re.findall(r"`([A-Z_]+)`, `detector/([\w/]+)\.py`", CONTRIBUTING)
    assert len(numbers) == 6
    for number, file in numbers:
        assert isinstance(getattr(import_module(f"detector.{file.replace('/', '.')}"), number), int)

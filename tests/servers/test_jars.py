"""What is fetched is what was pinned."""

import hashlib
from pathlib import Path

import pytest

from detector.errors import ServerError
from tests.servers import jars


@pytest.fixture
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the cache to an empty folder and every request to a proxy that is not there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def _pin(folder: Path, content: bytes) -> Path:
    pins = folder / "some.jars"
    pins.write_text(f"# a program\n{hashlib.sha256(content).hexdigest()} org.example:thing:1.0\n")
    return pins


def _kept(folder: Path) -> Path:
    path = folder / "detector" / "maven" / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    path.parent.mkdir(parents=True)
    return path


def test_the_pins_of_kafka_are_whole() -> None:
    """Every line is a SHA-256 and coordinates, none twice, and all parts of Kafka are of one version."""
    wanted = jars.read_pins(Path(jars.__file__).with_name("kafka-4.3.1.jars"))
    assert len(wanted) == len({(jar.group, jar.artifact) for jar in wanted}) == 46
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in wanted)
    assert {jar.version for jar in wanted if jar.group == "org.apache.kafka"} == {"4.3.1"}


@pytest.mark.usefixtures("_offline")
def test_what_is_there_and_sound_is_not_fetched(tmp_path: Path) -> None:
    """No network is needed after the first time, and nobody is told anything."""
    path = _kept(tmp_path)
    path.write_bytes(b"content")
    told: list[str] = []
    assert jars.fetch("Thing", _pin(tmp_path, b"content"), told.append) == [path]
    assert told == []


@pytest.mark.usefixtures("_offline")
def test_a_damaged_jar_is_never_handed_on(tmp_path: Path) -> None:
    """A download that was cut off is fetched again; without a network the error says why, and the damaged file is gone."""
    pytest.importorskip("jgo")
    path = _kept(tmp_path)
    path.write_bytes(b"cont")
    told: list[str] = []
    with pytest.raises(ServerError, match=r"Thing cannot be fetched \(the network is needed once"):
        jars.fetch("Thing", _pin(tmp_path, b"content"), told.append)
    assert not path.exists()
    assert len(told) == 1
    assert "fetching Thing" in told[0]

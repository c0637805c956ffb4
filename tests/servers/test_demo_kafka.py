"""The demo on Kafka: a real broker, the real service, and the decisions of a replay."""

from pathlib import Path

import pytest

from detector.console import Console
from tests.servers.demo_kafka import compare, show


def test_differences_are_found() -> None:
    """Missing, unexpected and changed decisions are told apart; order and repeats do not count."""
    a, b, other_b, c = (b'{"decision_id":"%s","n":%d}' % pair for pair in ((b"a", 1), (b"b", 1), (b"b", 2), (b"c", 1)))
    found = compare([a, b], [other_b, c])
    assert (found.missing, found.unexpected, found.changed, found.same) == (("a",), ("c",), ("b",), False)
    assert compare([a, b], [b, a, b]).same


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.usefixtures("kafka_can_run")
def test_the_service_decides_as_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both stages, three partitions, one broker: the same decisions, byte for byte, and the service ends in order."""
    with (tmp_path / "progress.txt").open("w") as heard:
        found = show(tmp_path / "demo", Console(file=heard, width=200), as_json=False)
    assert found.same
    assert found.expected >= 5
    assert "the same, byte for byte" in capsys.readouterr().out
    assert "worker ended" in (tmp_path / "demo" / "service.log").read_text()

"""The demo in a SIEM: real servers, the real service, and every alert found by Elastic's query."""

from pathlib import Path

import pytest

from detector.console import Console
from tests.servers.demo_siem import Found, show


def test_what_counts_as_the_same() -> None:
    """A missing alert, one too many and one that is there twice are all told."""
    a, b = ({"event": {"id": name}} for name in "ab")
    assert Found((a, b), frozenset("ab")).same
    assert not Found((a,), frozenset("ab")).same
    assert not Found((a, b), frozenset("a")).same
    assert not Found((a, a), frozenset("ab")).same


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.usefixtures("elastic_can_run")
def test_every_alert_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through Kafka and the service into Elasticsearch: each alert of a replay once, and the service ends in order."""
    with (tmp_path / "progress.txt").open("w") as heard:
        found = show(tmp_path / "demo", Console(file=heard, width=200), as_json=False)
    assert found.same
    assert len(found.alerts) >= 5
    assert "each of a replay's, once" in capsys.readouterr().out
    assert "worker ended" in (tmp_path / "demo" / "service-siem.log").read_text()

"""What arrives in files is read once, from where they ended; what is no alert or decision is counted."""

import json
from pathlib import Path

import pytest

from detector.contracts import to_json
from detector.drill.watch import FileWatch, read_alert, read_decision
from detector.errors import SourceError
from detector.sinks.sample import sample_alert
from tests.gate.decisions import value


def test_only_what_comes_after_the_beginning_is_seen(tmp_path: Path) -> None:
    """A line that is not complete yet waits for its end."""
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(value("before") + b"\n")
    watch = FileWatch(path, read_decision)
    assert list(watch.poll()) == []
    line = value("acme", action="block")
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert list(watch.poll()) == []
        file.write(line[20:] + b"\nno decision\n\n")
    (seen,) = watch.poll()
    assert (seen.step, seen.action, seen.simulated) == ("decision", "block", False)
    assert seen.clients == {"acme"}
    assert watch.unreadable == 1
    assert list(watch.poll()) == []


def test_a_file_that_comes_or_is_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    """As a run does that begins its results anew."""
    path = tmp_path / "decisions.jsonl"
    watch = FileWatch(path, read_decision)
    assert list(watch.poll()) == []
    path.write_bytes(value("first") + b"\n")
    assert [one.clients for one in watch.poll()] == [{"first"}]
    other = tmp_path / "other"
    other.write_bytes(value("second") + b"\n")
    other.replace(path)
    assert [one.clients for one in watch.poll()] == [{"second"}]
    path.write_bytes(b"")
    assert list(watch.poll()) == []


def test_the_members_of_a_campaign_are_meant() -> None:
    """A decision about a campaign names accounts; its own subject is no client."""
    document = json.loads(value("campaign-1"))
    document["subject"] = {"type": "campaign", "id": "campaign-1"}
    document["members"] = [{"id": "a"}, {"id": "b"}]
    seen = read_decision(json.dumps(document).encode())
    assert seen is not None
    assert seen.clients == {"a", "b"}


def test_alerts_say_by_how_many_queries() -> None:
    """And whom they are about."""
    alert = sample_alert()
    seen = read_alert(to_json(alert))
    assert seen is not None
    assert alert.user.id in seen.clients
    assert (seen.queries, seen.action) == (alert.detector.queries, alert.detector.action)
    assert read_alert(b"{}") is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder has come to be where a file was expected."""
    path = tmp_path / "alerts.jsonl"
    watch = FileWatch(path, read_alert)
    path.mkdir()
    with pytest.raises(SourceError, match=r"alerts\.jsonl: cannot be read"):
        watch.poll()

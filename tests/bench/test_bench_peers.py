"""The comparison with other stream processors, at a size that says nothing about speed."""

import argparse
import json
import sys

import pytest

from tests.bench.bench_log import make_log
from tests.bench.bench_peers import LABELS, PlainLoop, count_with, measure, missing, show
from tests.bench.subjects import fit


def test_the_loop_counts_the_queries_of_each_client() -> None:
    """Whatever a peer counts is compared with this."""
    loop = PlainLoop()
    lines = make_log(50, 3)
    loop(lines)
    assert sum(loop.counts.values()) == 50
    assert loop.counts == {who: sum(json.loads(line)["client"]["id"] == who for line in lines) for who in loop.counts}


def test_what_is_missing_is_told() -> None:
    """An interpreter without a package, and none at all."""
    why = missing(sys.executable, "quixstreams")
    assert why is None or "quixstreams" in why
    with pytest.raises(RuntimeError, match="status"):
        count_with("/bin/false", "bytewax", make_log(3, 1), None)


@pytest.mark.broker
@pytest.mark.slow
def test_what_is_there_is_measured_and_shown(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The plain loop over a topic counts right on a real broker; the others are measured where they are installed."""
    options = argparse.Namespace(peers=sys.executable, clients=4, events=300, rounds=1)
    found = measure(options, fit(20, 40), broker)
    assert json.loads(json.dumps(found)) == found
    assert {"decode", "loop", "whole", "consume"} <= set(found["us_per_event"])
    assert set(found["us_per_event"]) | set(found["absent"]) == set(LABELS)
    assert all(taken > 0 for taken in found["us_per_event"].values())
    show(found)
    said = capsys.readouterr().out
    assert "librdkafka" in said
    assert ("not measured" in said) == bool(found["absent"])

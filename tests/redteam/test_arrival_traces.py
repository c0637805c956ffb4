import gzip
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.redteam.arrival_traces import LEAST, Trace, read_traces, replayed

ACCESS = '{} - - [17/May/2015:10:{:02d}:{:02d} +0000] "GET /a HTTP/1.1" 200 1 "-" "-"\n'


def test_an_access_log_has_a_stream_for_each_address(tmp_path: Path) -> None:
    """Two addresses, interleaved and out of order: two streams of gaps in seconds, the longer one first."""
    lines = [ACCESS.format("10.0.0.1", i, 0) for i in range(10)] + [ACCESS.format("10.0.0.2", 5, 2 * i) for i in range(20)]
    (tmp_path / "web.log").write_text("".join(lines[::-1]) + "not a request\n", encoding="utf-8")
    (trace,) = read_traces(tmp_path).values()
    assert trace.name == "web"
    assert [set(stream.tolist()) for stream in trace.streams] == [{2.0}, {60.0}]
    assert [len(stream) for stream in trace.streams] == [19, 9]


def test_a_table_of_times_is_one_stream(tmp_path: Path) -> None:
    """A TIMESTAMP column with seven decimals, compressed."""
    rows = "".join(f"2023-11-16 18:17:{i:02d}.5000000,10,20\n" for i in range(0, 30, 3))
    with gzip.open(tmp_path / "calls.csv.gz", "wt", encoding="utf-8") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    (trace,) = read_traces(tmp_path).values()
    assert [stream.tolist() for stream in trace.streams] == [[3.0] * 9]


def test_requests_that_grow_from_each_other_are_a_session(tmp_path: Path) -> None:
    """Two conversations whose blocks grow, each in its own rhythm, are told apart though they begin alike."""
    records = []
    for turn in range(12):
        for session, seconds in ((1, 10), (2, 25)):
            blocks = [0, *range(100 * session, 100 * session + turn + 1), 10_000 * session + turn]
            records.append({"timestamp": 1000 * seconds * turn, "hash_ids": blocks, "input_length": 5})
    records.sort(key=lambda record: record["timestamp"])  # type: ignore[arg-type, return-value]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    (trace,) = read_traces(tmp_path).values()
    assert sorted(stream.tolist() for stream in trace.streams) == [[10.0] * 11, [25.0] * 11]


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    """Text, other tables, bytes, folders and streams too short to replay give nothing."""
    (tmp_path / "README.md").write_text("# Traces\n", encoding="utf-8")
    (tmp_path / "people.csv").write_text("age,name\n3,4\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(bytes(range(256)))
    (tmp_path / "short.log").write_text("".join(ACCESS.format("a", i, 0) for i in range(LEAST)), encoding="utf-8")
    (tmp_path / "folder").mkdir()
    assert read_traces(tmp_path) == {}


def test_a_broken_trace_says_which(tmp_path: Path) -> None:
    """A file that begins as a trace and goes on as something else is an error with its name."""
    (tmp_path / "calls.csv").write_text("TIMESTAMP\n2023-11-16 18:17:03\nyesterday\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"calls\.csv"):
        read_traces(tmp_path)


def test_replayed_gaps_have_the_mean_asked_for_and_the_order_of_the_trace() -> None:
    """Whole turns through a stream have the mean; a client begins anywhere and gaps follow as they did."""
    trace = Trace("t", (np.array([1.0, 2.0, 3.0, 10.0]),))
    starts = set()
    for seed in range(12):
        gaps = list(islice(replayed(trace)(np.random.default_rng(seed), 40.0), 8))
        assert np.mean(gaps) == pytest.approx(40.0)
        assert gaps[:4] == gaps[4:]
        place = [10.0, 20.0, 30.0, 100.0].index(gaps[0])
        assert gaps[1] == [10.0, 20.0, 30.0, 100.0][(place + 1) % 4]
        starts.add(place)
    assert len(starts) > 2


def test_simultaneous_arrivals_can_be_replayed() -> None:
    """A stream without time in it has the mean gap, instead of none at all."""
    assert list(islice(replayed(Trace("t", (np.zeros(9),)))(np.random.default_rng(0), 3.0), 3)) == [3.0] * 3

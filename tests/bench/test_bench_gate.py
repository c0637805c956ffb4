"""The building blocks of the gate's bench, at sizes that say nothing about speed."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.gate.records import read_key, read_value
from tests.bench import bench_gate
from tests.bench.gate_nginx import BenchNginx, gated, ungated
from tests.servers.broker import LocalBroker
from tests.servers.gate import LocalGate


def test_the_lines_are_decisions_about_as_many_clients() -> None:
    records = [read_value(line) for line in bench_gate.lines_of(50)]
    assert len({record.key for record in records if record is not None}) == 50


def test_requests_are_counted_and_timed(tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_bytes(b"".join(bench_gate.lines_of(10)))
    with LocalGate({"decisions_file": str(file)}) as gate:
        gate.wait_until_ready()
        rows = bench_gate.requests(gate, 0.05)
        assert [row["rate"] for row in rows] == list(bench_gate.RATES)
        assert gate.metric('detector_gate_requests_total{action="allow",cause="none",result="passed"}') == 175.0


@pytest.mark.slow
def test_one_nginx_asks_the_gate_and_the_other_nobody(installed: Callable[[Any], None], tmp_path: Path) -> None:
    installed(BenchNginx)
    file = tmp_path / "few.jsonl"
    file.write_bytes(b"".join(bench_gate.lines_of(10)))
    with LocalGate({"decisions_file": str(file)}) as gate:
        gate.wait_until_ready()
        for nginx in (gated(gate.port), ungated()):
            with nginx:
                assert len(asyncio.run(bench_gate.ask_at(nginx.port, 100, 0.05, bench_gate.THROUGH))) == 5
            assert gate.metric('detector_gate_requests_total{action="allow",cause="none",result="passed"}') == 5.0


@pytest.mark.slow
@pytest.mark.broker
def test_decisions_are_loaded_from_kafka(local_broker: Callable[..., LocalBroker]) -> None:
    kafka = bench_gate._topics(local_broker().bootstrap)
    keys = [record.key for record in map(read_value, itertools.islice(bench_gate.lines_of(1), 1)) if record is not None]
    assert keys == [read_key(b"client:account-000000000000:fraud")]
    bench_gate.fill(kafka, 50)
    assert bench_gate.load_from_kafka(kafka, "kafka-python", 50)["decisions"] == 50

"""The building blocks of the gate's bench, at sizes that say nothing about speed."""

from pathlib import Path

from detector.gate.records import read_value
from tests.bench import bench_gate
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

"""What cannot be used stops nothing: neither one client that sends it, nor a log of which nothing can be read any more."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from detector.contracts import to_json
from detector.service import refusals
from detector.service.worker import Stage
from detector.testing import traffic, watch

pytestmark = pytest.mark.broker
CLIENT = "no-good"
UNREADABLE = 501
READABLE = 300
BEFORE = 400  # lines of the others, so that every partition knows the model


def _spoilt(line: bytes, number: int, how: str) -> bytes:
    """Return a record of the client that cannot be used, of which the client can be read."""
    record = json.loads(line) | {"client": {"id": CLIENT}, "event_id": f"{CLIENT}-{number}"}
    match how:
        case "dimension":
            record["input"]["vector"].append(1.0)
        case "nan":
            record["input"]["vector"][0] = float("nan")  # JSON has none, and Python writes it
        case "id":
            record["event_id"] = "x" * 257
        case _:
            del record["output"]
    return json.dumps(record).encode()


def _with_one_client_more(others: list[bytes], hows: tuple[str, ...]) -> list[bytes]:
    """Return a log with 801 records of one client in it, 501 of which cannot be used and come at once."""
    unreadable = [_spoilt(others[i], i, hows[i % len(hows)]) for i in range(UNREADABLE)]
    readable = []
    for i, line in enumerate(others[BEFORE : BEFORE + READABLE]):
        record = json.loads(line) | {"client": {"id": CLIENT}, "event_id": f"{CLIENT}-good-{i}"}
        readable.append(json.dumps(record).encode())
    return [*others[:BEFORE], *unreadable, *readable, *others[BEFORE:]]


@pytest.mark.parametrize("hows", [("dimension",), ("id", "nan", "output")])
def test_one_client_stops_nobody_s_detection(rig: Any, stolen: list[bytes], hows: tuple[str, ...]) -> None:
    """501 of one client's 801 records are refused: the others' alerts and decisions are those of a replay, byte for byte."""
    log = _with_one_client_more(stolen, hows)
    rig.produce(log)
    with rig.thread() as worker:
        rig.wait_done()
        status = worker.status()
    assert status.ready
    assert status.refusing is None
    assert sum(map(len, rig.read(rig.topics.dead_letters).values())) == UNREADABLE
    oracle = watch(log, rig.config, partitions=rig.partitions)
    alerts = [record.value for records in rig.read(rig.topics.alerts).values() for record in records]
    assert {json.loads(alert)["event"]["id"]: alert for alert in alerts} == {
        alert.event.id: to_json(alert) for alert in oracle.raised
    }
    assert any(alert.user.id.startswith("thief") for alert in oracle.raised)
    named = [alert for alert in map(json.loads, alerts) if alert["event"]["code"] == "extraction.refused"]
    assert [alert["user"]["id"] for alert in named] == [CLIENT]
    decisions = {record.key: record.value for records in rig.read(rig.topics.decisions).values() for record in records}
    assert decisions == {decision.key.encode(): to_json(decision) for decision in oracle.decided}


@pytest.mark.parametrize("keyed", [False, True])
def test_a_log_in_a_new_format_stops_nothing_and_is_told(
    rig_at: Callable[..., Any], broker: str, monkeypatch: pytest.MonkeyPatch, *, keyed: bool
) -> None:
    """A flood of which nothing can be read is kept aside and told; a restart is no worse, and good records end it."""
    monkeypatch.setattr(refusals, "WINDOW_S", 3.0)
    monkeypatch.setattr(refusals, "JUDGE_EVERY_S", 0.2)
    rig = rig_at(broker, keyed=keyed)
    stage = Stage.DETECT if keyed else Stage.ALL
    produce = rig.produce_keyed if keyed else rig.produce
    lines = traffic(seed=5, innocents=20, thieves=0, queries=40)
    flood = [json.dumps({"client": {"id": f"client-{i % 20}"}, "number": i}).encode() for i in range(3000)]
    produce(lines[:400])
    with rig.thread() as worker:
        rig.wait_done(stage=stage)
        produce(flood[:1500])
        # Asked once: it is taken back when nothing more comes.
        rig.wait_until(lambda: "all recent records of partition " in (worker.status().refusing or ""))
        rig.wait_done(stage=stage)
    with rig.thread() as worker:
        rig.wait_until(lambda: worker.status().ready)
        assert worker.status().refusing is None, "a restart begins afresh"
        produce(flood[1500:])
        rig.wait_done(stage=stage)
        produce(lines[400:])
        rig.wait_done(stage=stage)
        rig.wait_until(lambda: worker.status().refusing is None)
    dead_letters = {record.value for records in rig.read(rig.topics.dead_letters).values() for record in records}
    assert dead_letters == set(flood)

"""What all formats of real servers share: ids, and how many queries a refused call counts for."""

import json
from collections.abc import Sequence
from typing import Any

from detector.clock import HeldClock
from detector.config import IngestSection
from detector.ingest.assemble import Assembler
from detector.ingest.formats.decoder import Decoder, Outcome, Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.registry import format_named
from detector.ingest.lines import Chunk

TIME_MS = 1_777_890_667_412
THREE = json.dumps({"instances": [[1, 2], [3, 4], [5, 6]]})


def _decoder(name: str, **ingest: Any) -> Decoder:
    return format_named(name).build(Surroundings(None, IngestSection(**ingest)))


def _entry(body: str = '{"instances": [[1, 2]]}', answer: str = '{"predictions": [1]}', **changes: Any) -> dict[str, Any]:
    return {
        "start_time": TIME_MS,
        "service_id": "wine",
        "consumer": {"username": "acme"},
        "request": {"headers": {}, "body": body},
        "response": {"status": 200, "body": answer},
        "server": {},
        **changes,
    }


def _ids(outcomes: Sequence[Outcome]) -> list[str]:
    found = []
    for outcome in outcomes:
        owner = outcome.owner if isinstance(outcome, Refusal) else None
        found.append(outcome.event_id if isinstance(outcome, DecodedEvent) else owner.event_id if owner else "")
    return found


def test_entries_of_one_record_have_ids_of_their_own() -> None:
    """Also where they are the same and the log has no ids; read again, they have the same ids."""
    record = Record(json.dumps([_entry(), _entry(), _entry(answer="")]).encode())
    ids = _ids(several(_decoder("apisix").decode(record)))
    assert len(set(ids)) == 3
    assert ids == _ids(several(_decoder("apisix").decode(record)))
    (alone,) = _ids(several(_decoder("apisix").decode(Record(json.dumps(_entry()).encode()))))
    assert alone not in ids


def test_a_call_without_answer_counts_for_all_its_queries() -> None:
    """Each is refused for the same reason, with an id of its own: answer lost, status not 200, fewer answers than inputs."""
    for entry in (
        _entry(THREE, ""),
        _entry(THREE, response={"status": 500, "body": "x"}),
        _entry(THREE, '{"predictions": [1, 2]}'),
    ):
        refused = several(_decoder("apisix").decode(Record(json.dumps({**entry, "request": entry["request"]}).encode())))
        assert len({_ids([one])[0] for one in refused}) == len(refused) == 3
        assert all(isinstance(one, Refusal) and one.owner is not None and one.owner.client == "acme" for one in refused)
        assert len({one.detail for one in refused if isinstance(one, Refusal)}) == 1
    broken = several(_decoder("apisix").decode(Record(json.dumps(_entry('{"instances": [[1', "")).encode())))
    assert len(broken) == 1


def test_each_query_of_a_request_without_answer_is_an_event() -> None:
    """Those of a request that was held back have digests of their own, so none is taken for a repeat of another."""
    body = json.dumps({"id": "b1", "inputs": [{"name": "x", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]})
    headers = [("mlserver-model", b"wine"), ("x-consumer-id", b"acme")]
    assembler = Assembler(HeldClock(TIME_MS), decoder=_decoder("mlserver"))
    record = Record(body.encode(), b"m1", headers, time_ms=TIME_MS)
    held = assembler.assemble([record.value], "topic", first_line=1, first_sequence=0, record_at=lambda _: record)
    assert not held.batches
    assert not held.rejections
    (batch,), rejections, _ = assembler.finish(first_sequence=0)
    assert batch.client == ["acme"] * 3
    assert len(set(batch.digest.tolist())) == 3
    assert len(set(batch.event_id)) == 3
    assert [entry.reason for entry in rejections] == ["unanswered"]


def test_refused_queries_of_a_read_record_have_digests_of_their_own() -> None:
    """Those of a whole call, too."""
    assembler = Assembler(HeldClock(TIME_MS), decoder=_decoder("apisix"))
    chunk = Chunk("log", 1, [json.dumps(_entry(THREE, "")).encode()])
    (batch,), _, _ = assembler.assemble_chunk(chunk, first_sequence=0)
    assert len(set(batch.digest.tolist())) == 3

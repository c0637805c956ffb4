"""Every format, shown thousands of mutated samples: nothing raises, and no record is lost without a word.

Each record becomes events, dead-letter records, or is held back for its other half; what is no query is counted as such.
`make fuzz` runs it with DETECTOR_FUZZ_MUTANTS=10000 for each format.
"""

import os
import random
import zlib
from collections.abc import Hashable, Sequence
from itertools import islice

import pytest

from detector.clock import HeldClock
from detector.ingest.assemble import Assembled, Assembler
from detector.ingest.batch import usable
from detector.ingest.formats.call import Call
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.joining import Half, Joiner
from detector.ingest.formats.registry import FORMATS
from detector.ingest.formats.triton import TritonDecoder
from detector.service.kafka.codec import encode
from tests.ingest.formats.mutations import mutants
from tests.ingest.formats.test_registry import decoder, samples

MUTANTS = int(os.environ.get("DETECTOR_FUZZ_MUTANTS", "300"))
AT_ONCE = 50  # records that are assembled together
LIMIT = 1 << 20  # bytes of a record
NOW_MS = 1_777_900_000_000


class _Joins:
    """The places of the records whose halves, or parts of a trace, became whole."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.places: set[Hashable] = set()
        self._removed: Hashable = None
        remove, join, taken = Joiner._remove, Joiner.join, TritonDecoder._taken

        def removing(joiner: Joiner, number: int) -> Half:
            half = remove(joiner, number)
            self._removed = half.record.place
            return half

        def joining(joiner: Joiner, half: Half) -> Call | None:
            whole = join(joiner, half)
            if whole is not None:
                self.places |= {half.record.place, self._removed}
            return whole

        def taking(reader: TritonDecoder, trace_id: str) -> Call:
            self.places.update(reader._traces[trace_id].places)
            return taken(reader, trace_id)

        patch.setattr(Joiner, "_remove", removing)
        patch.setattr(Joiner, "join", joining)
        patch.setattr(TritonDecoder, "_taken", taking)


class _Account:
    """Shows records of a format to an assembler, and where each of them went."""

    def __init__(self, name: str, joins: _Joins) -> None:
        self._reader = decoder(name)
        self._assembler = Assembler(HeldClock(NOW_MS), decoder=self._reader, max_record_bytes=LIMIT)
        self._joins = joins
        self._waiting: set[Hashable] = set()
        self.counts = dict.fromkeys(("records", "events", "dead letters", "held back", "no queries"), 0)

    def show(self, part: Sequence[Record]) -> None:
        skipped = self._reader.skipped()
        values = [record.value for record in part]
        found = self._assembler.assemble(values, "log", first_line=1, first_sequence=0, record_at=part.__getitem__)
        events = _checked(found)
        late = {rejection.sequence for rejection in found.rejections if rejection.held is not None}
        told = {part[found.places.record(at)].place for at in set(range(len(found.places))) - late}
        held = set(self._reader.held())
        lost = (self._waiting | {record.place for record in part}) - told - _given_up(found) - held - self._joins.places
        skipped = self._reader.skipped() - skipped
        assert len(lost) <= skipped, [record for record in part if record.place in lost]
        self._waiting = held
        self._joins.places = set()
        for kind, count in zip(self.counts, (len(part), events, len(found.rejections), 0, skipped), strict=True):
            self.counts[kind] += count

    def finish(self) -> None:
        found = self._assembler.finish(first_sequence=0)
        _checked(found)
        assert self._waiting <= _given_up(found) | self._joins.places
        assert not self._reader.held()
        self.counts["held back"] = len(self._waiting)


def _given_up(found: Assembled) -> set[Hashable]:
    return {rejection.held.place for rejection in found.rejections if rejection.held is not None}


def _checked(found: Assembled) -> int:
    """Fail unless what was made of records can be written to the topics; return how many events they are."""
    for batch in found.batches:
        assert len(encode(batch)) == len(batch)
    for rejection in found.rejections:
        assert 0 < len(rejection.detail) <= 200
        assert len(rejection.record) <= LIMIT
        for text in (rejection.detail, rejection.client, rejection.model):
            (text or "").encode()
    events = sum(map(len, usable(found.batches)))
    further = len(found.places) - events - len(found.rejections)  # of calls that are refused as a whole, beside the first
    assert further == 0 or (further > 0 and found.rejections)
    return events


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_raises_and_nothing_is_lost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, dead-letter records, records that are held back and those that are no query are all records there were."""
    account = _Account(name, _Joins(monkeypatch))
    stream = mutants(random.Random(zlib.crc32(name.encode())), [record for record, _ in samples(name)], MUTANTS)
    while part := list(islice(stream, AT_ONCE)):
        account.show(part)
    account.finish()
    assert account.counts["records"] == MUTANTS
    print(f"{name}: " + ", ".join(f"{count:,} {kind}" for kind, count in account.counts.items()))  # noqa: T201

"""What every format has to keep, checked for each that is registered, and for one that only tests have.

A new format needs no test code here, only its samples: ``samples/<name>.jsonl``. Each line holds a record as ``kcat -J`` writes
it, and the outcomes that are expected of it.
"""

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.config import IngestSection
from detector.config.detection import zone_of
from detector.contracts.dead_letter import REASONS
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS
from detector.errors import ConfigError
from detector.ingest import formats
from detector.ingest.formats.decoder import Decoder, Outcome, Record, Surroundings, several
from detector.ingest.formats.event import DETAIL_CHARACTERS, DecodedEvent, Refusal
from detector.ingest.formats.registry import FORMATS, MODULES, format_named
from detector.ingest.owner import Owner
from tests.ingest.formats import paired

SAMPLES = Path(__file__).parent / "samples"
FOLDER = Path(str(formats.__file__)).parent
NAMES = [*FORMATS, paired.FORMAT.name]
WRONG: list[Any] = [None, True, -1, 1e300, 10**400, "", "x", "\ud800", "9" * 5000, [], {}, [[]], float("nan"), float("inf")]
DEEP = 100_000
MOST_WAIT_MS = 60_000  # between a request and its answer, which may come in a record of its own
MOST_GROWTH = 48 * 1024 * 1024  # bytes: caches may fill up, and halves of calls wait, but not all that they are shown

pytestmark = pytest.mark.usefixtures("paired_format")
each_format = pytest.mark.parametrize("name", NAMES)


def decoder(name: str) -> Decoder:
    """Return a decoder; the first line of samples may hold the ``[ingest]`` section that they need, and a zone."""
    first = json.loads((SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[0])
    zone = None if "zone" not in first else zone_of(first["zone"])
    return format_named(name).build(Surroundings(zone, IngestSection(**first.get("ingest", {}))))


def samples(name: str) -> list[tuple[Record, list[dict[str, Any]]]]:
    found = []
    for line in (SAMPLES / f"{name}.jsonl").read_text().splitlines():
        sample = json.loads(line)
        if "record" not in sample:
            continue
        raw = sample["record"]
        flat = raw.get("headers", [])
        key = None if raw.get("key") is None else raw["key"].encode()
        headers = [(name, value.encode()) for name, value in zip(flat[::2], flat[1::2], strict=True)]
        record = Record(raw["payload"].encode(), key, headers, raw.get("topic", ""), raw.get("ts"))
        found.append((record, sample["outcomes"]))
    return found


def expected_at_the_end(name: str) -> list[dict[str, Any]]:
    """Return the outcomes of what is held back: the last line of samples may be ``{"flush": [...]}``."""
    last = json.loads((SAMPLES / f"{name}.jsonl").read_text().splitlines()[-1])
    return list(last.get("flush", []))


def kept(outcomes: Sequence[Outcome]) -> None:
    """Fail unless outcomes are what the assembler builds on."""
    for outcome in outcomes:
        if isinstance(outcome, Refusal):
            assert outcome.reason in REASONS
            assert 0 < len(outcome.detail) <= DETAIL_CHARACTERS
            continue
        assert isinstance(outcome, DecodedEvent)
        assert isinstance(outcome.time, int)
        assert -(2**63) <= outcome.time < 2**63
        for text in (outcome.event_id, outcome.client.id, outcome.model.id):
            assert 0 < len(text) <= ID_CHARACTERS
            text.encode()
        client = outcome.client
        for described in (outcome.model.version, client.type, client.organization, client.ip, client.user_agent):
            (described or "").encode()
        assert len(outcome.model.version or "") <= TEXT_CHARACTERS
        assert len(outcome.input.values()) > 0
        assert outcome.output.label is not None or outcome.output.probabilities
        assert outcome.sampled_rate is None or outcome.sampled_rate >= 1


def tried(reader: Decoder, record: Record) -> list[Outcome]:
    """Decode a record in every way there is; nothing may raise."""
    outcomes = list(several(reader.decode(record)))
    kept(outcomes)
    if reader.plain is not None:
        assert repr(reader.plain(record.value)) == repr(outcomes[0])
    time = reader.time_of(record)
    assert time is None or isinstance(time, int)
    reader.owner(record)
    refusal = reader.explain(record)
    assert refusal is None or refusal.reason in REASONS
    return outcomes


def changed(value: Any, wrong: Any) -> Iterator[Any]:
    """Yield a document with one of its parts replaced, for each part."""
    yield wrong
    if isinstance(value, dict):
        for key, below in value.items():
            yield from ({**value, key: other} for other in changed(below, wrong))
            yield {other: below for other, below in value.items() if other != key}
    elif isinstance(value, list):
        for at, below in enumerate(value[:3]):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in changed(below, wrong))


@each_format
def test_samples_are_decoded(name: str) -> None:
    """Each sample gives the events and the refusals that are written beside it."""
    reader = decoder(name)
    assert samples(name)
    for record, expected in samples(name):
        outcomes = tried(reader, record)
        assert [told(outcome, reader.owner(record)) for outcome in outcomes] == expected
    held = reader.flush()
    kept(held)
    assert [told(outcome, None) for outcome in held] == expected_at_the_end(name)
    assert not reader.held()


def told(outcome: Outcome, owner: Owner | None) -> dict[str, Any]:
    """Return an outcome as samples write it."""
    if isinstance(outcome, Refusal):
        owner = outcome.owner or owner
        client, model = (None, None) if owner is None else (owner.client, owner.model)
        return {"reason": outcome.reason, "client": client, "model": model}
    return {
        "event_id": outcome.event_id,
        "time": outcome.time,
        "client": outcome.client.id,
        "model": outcome.model.id,
        "vector": [None if np.isnan(number) else number for number in outcome.input.values().tolist()],
        "label": outcome.output.label,
        "probabilities": outcome.output.probabilities,
    }


@each_format
def test_files_are_merged_by_the_time_of_the_first_event(name: str) -> None:
    """A format that does not say when a record's queries were asked would leave events of several files refused as late."""
    reader = decoder(name)
    for record, expected in samples(name):
        if expected and "time" in expected[0]:
            time = reader.time_of(record)
            assert time is not None
            assert 0 <= time - expected[0]["time"] <= MOST_WAIT_MS


def test_every_module_is_registered() -> None:
    """A format that lies in the folder and is not named would not be checked, nor found."""
    written = {file.stem for file in FOLDER.glob("*.py") if "\nFORMAT = Format(" in file.read_text(encoding="utf-8")}
    assert written == set(MODULES)


@each_format
def test_samples_that_are_cut_or_changed_never_raise(name: str) -> None:
    """Cut off anywhere, with any byte changed, without headers, and with any part of the wrong type."""
    reader = decoder(name)
    rng = np.random.default_rng(1)
    for record, _ in samples(name):
        value = record.value
        for at in range(0, len(value), 3):
            tried(reader, record._replace(value=value[:at]))
            other = bytes([*value[:at], int(rng.integers(256)), *value[at + 1 :]])
            tried(reader, record._replace(value=other))
        for bare in (Record(value), record._replace(headers=[(name, None) for name, _ in record.headers])):
            tried(reader, bare)
        try:
            document = json.loads(value)
        except ValueError:
            continue
        for wrong in WRONG:
            for other_document in changed(document, wrong):
                tried(reader, record._replace(value=json.dumps(other_document).encode()))


@each_format
def test_bombs_never_raise(name: str) -> None:
    """Nested too deep, or one huge text, number or list; alone and within a sample."""
    reader = decoder(name)
    (record, _), *_ = samples(name)
    bombs = [b"[" * DEEP, b'{"a":' * DEEP, b"1" * DEEP, b'"' + b"x" * (1 << 20) + b'"', b"[" + b"0," * DEEP + b"0]"]
    for bomb in bombs:
        tried(reader, record._replace(value=bomb))
        tried(reader, record._replace(value=record.value[:1] + b'"bomb":' + bomb + b"," + record.value[1:]))
        tried(reader, record._replace(headers=[(known, bomb) for known, _ in record.headers]))


@each_format
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    value=st.binary(max_size=200),
    headers=st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=20)), max_size=3),
    topic=st.text(max_size=20),
    time_ms=st.none() | st.integers(-(2**63), 2**63 - 1),
)
def test_noise_never_raises(
    name: str, value: bytes, headers: list[tuple[str, bytes | None]], topic: str, time_ms: int | None
) -> None:
    """Whatever bytes a record is made of."""
    tried(decoder(name), Record(value, value, headers, topic, time_ms))


@each_format
def test_the_same_records_give_the_same_outcomes(name: str) -> None:
    """With a decoder that is new and with one that has seen it all before."""
    records = [record for record, _ in samples(name)] * 2
    used = decoder(name)
    first, again, new = (
        [*(repr(tried(one, record)) for record in records), repr(one.flush())] for one in (used, used, decoder(name))
    )
    assert first == again == new


@each_format
def test_memory_is_bounded(name: str) -> None:
    """However many different records come, what a decoder remembers stays small."""
    reader = decoder(name)
    record = max((record for record, _ in samples(name)), key=lambda record: len(record.value))

    def show(start: int, stop: int) -> None:
        for number in range(start, stop):
            mark = f"{number:06}".encode()
            value = record.value.replace(b"acme", b"acme" + mark * 20).replace(b"e1", b"e" + mark)
            headers = [(known, (text or b"") + mark * 20) for known, text in record.headers]
            reader.decode(record._replace(value=value, headers=headers, topic=f"{record.topic}{number}"))

    show(0, 500)
    tracemalloc.start()
    try:
        show(500, 20_000 if reader.plain else 5_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < MOST_GROWTH


def test_names() -> None:
    """A format is known by its name; one that does not exist is a mistake of the configuration, and the others are named."""
    assert len(FORMATS) >= len(MODULES)
    for name in NAMES:
        assert format_named(name).name == name
        assert format_named(name).description
    with pytest.raises(ConfigError, match=r"no log format 'csv'; known: apisix"):
        format_named("csv")

"""The format of records is recognised, whatever stands beside them."""

import json

import pytest

from detector.ingest.formats.auto import DECIDING, UNKNOWN
from detector.ingest.formats.decoder import Decoder, Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.registry import FORMATS, format_named
from tests.ingest.formats.test_registry import samples, told

NO_SIGN = {"auto", "mapping"}
NAMES = [name for name in FORMATS if name not in NO_SIGN]


def decoder(known: Surroundings | None = None) -> Decoder:
    return format_named("auto").build(known or Surroundings())


def events(reader: Decoder, record: Record) -> list[DecodedEvent]:
    return [outcome for outcome in several(reader.decode(record)) if isinstance(outcome, DecodedEvent)]


@pytest.mark.parametrize("name", NAMES)
def test_samples_of_a_format_are_decoded_as_it(name: str) -> None:
    """Whoever gives no format gets the same events as whoever names it."""
    auto, named = decoder(), format_named(name).build(Surroundings())
    found = [[told(event, None) for event in events(auto, record)] for record, _ in samples(name)]
    assert found == [[told(event, None) for event in events(named, record)] for record, _ in samples(name)]
    assert [auto.time_of(record) for record, _ in samples(name)] == [named.time_of(record) for record, _ in samples(name)]


def test_records_of_two_formats_in_one_topic_are_both_decoded() -> None:
    """The usual format of a topic does not lose the records of another one, before it is decided and after."""
    said: list[tuple[str, ...]] = []
    reader = decoder(Surroundings(recognized=lambda *told: said.append(told)))
    ours, theirs = samples("native")[0][0]._replace(topic="log"), samples("apisix")[0][0]._replace(topic="log")
    for _ in range(DECIDING):
        assert events(reader, theirs)
        assert events(reader, ours)
        assert events(reader, theirs)
    assert [(topic, name) for topic, name, _ in said] == [("log", "apisix")]


def test_what_few_records_are_taken_for_is_told_at_the_end() -> None:
    """Once, with the sign; each topic for itself."""
    said: list[tuple[str, ...]] = []
    reader = decoder(Surroundings(recognized=lambda *told: said.append(told)))
    for topic in ("a", "b"):
        reader.decode(samples("databricks")[0][0]._replace(topic=topic))
    assert not said
    for _ in range(2):
        reader.flush()
    sign = "columns databricks_request_id and request"
    assert said == [("a", "databricks", sign), ("b", "databricks", sign)]


def test_what_nobody_recognises_is_refused() -> None:
    """It says where to look."""
    assert decoder().decode(Record(json.dumps({"hello": 1}).encode())) == Refusal("schema", UNKNOWN)


def test_a_broken_record_is_explained_as_the_usual_format_does() -> None:
    """A record that was cut off counts for the client that can still be read."""
    reader = decoder()
    whole = samples("native")[0][0]
    for _ in range(DECIDING):
        reader.decode(whole)
    cut = whole._replace(value=whole.value[:-3])
    (refusal,) = several(reader.decode(cut))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "json"
    assert reader.owner(cut) == format_named("native").build(Surroundings()).owner(cut)

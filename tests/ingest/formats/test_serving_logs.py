"""Each log of a real server gives the events, the clients and the dead letters that are expected of it."""

from collections import Counter

import pytest

from detector.config import IngestSection
from detector.config.detection import zone_of
from detector.ingest.formats.auto import first_document
from detector.ingest.formats.decoder import Outcome, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.registry import FORMATS, format_named
from tests.ingest.formats.serving_logs import LOGS, ServingLog

each_log = pytest.mark.parametrize("log", LOGS, ids=lambda log: log.folder)


def outcomes(log: ServingLog) -> list[Outcome]:
    zone = None if log.naive_zone is None else zone_of(log.naive_zone)
    decoder = format_named(log.format).build(Surroundings(zone, IngestSection(**log.ingest)))
    return [*(one for record in log.records() for one in several(decoder.decode(record))), *decoder.flush()]


@each_log
def test_events_clients_and_dead_letters(log: ServingLog) -> None:
    """By number, client, model and dimension; every id is another one."""
    expected = log.expected
    found = outcomes(log)
    events = [one for one in found if isinstance(one, DecodedEvent)]
    assert len(events) == expected["events"]
    assert Counter(event.client.id for event in events) == expected["clients"]
    assert Counter(event.model.id for event in events) == expected["models"]
    assert {len(event.input.values()) for event in events} == {expected["dimension"]}
    refused = [one for one in found if isinstance(one, Refusal)]
    ids = [one.owner.event_id for one in refused if one.owner is not None]
    assert len(set(ids)) == len(ids)
    assert sum(not one.further for one in refused) == len(expected["dead_letters"])


@each_log
def test_it_is_recognised(log: ServingLog) -> None:
    """By its own format and by no other; a mapped log is nobody's."""
    for record in log.records():
        signs = {}
        in_headers = any(header.casefold() in {"ce_type", "type"} for header, _ in record.headers)
        for name, entry in FORMATS.items():
            document = None if in_headers else first_document(record.value)
            if (sign := entry.recognize(record, document)) is not None:
                signs[name] = sign
        assert list(signs) == ([] if log.format == "mapping" else [log.format])


def test_sampled_events_weigh_more() -> None:
    """Half of the requests are in the table, so each counts twice."""
    (log,) = (log for log in LOGS if log.format == "databricks")
    assert {event.sampled_rate for event in outcomes(log) if isinstance(event, DecodedEvent)} == {2.0}


def test_columns_in_another_order_are_put_in_order() -> None:
    """One request of the table names its columns in another order: its values are in the places of the others'."""
    (log,) = (log for log in LOGS if log.format == "databricks")
    ages = [event.input.values()[1] for event in outcomes(log) if isinstance(event, DecodedEvent)]
    assert all(18 <= age <= 100 for age in ages)

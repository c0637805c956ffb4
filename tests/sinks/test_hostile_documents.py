"""Records that somebody else has put into the topics of alerts and decisions: refused in a sentence, or passed on."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from detector.contracts import to_json
from detector.errors import NoDocumentError
from detector.sinks.elastic.documents import documents
from detector.sinks.formats import FORMATS, encoder, read
from detector.sinks.message import Kind, message, passes
from detector.sinks.sample import sample_alert, sample_decision

MUTATIONS = 10_000  # of each kind; as many records in all as were enough to find every escape known
READ = 1500  # of each kind, which take longer
LATE = "2026-05-04T10:31:08.000Z"
HARD: list[Any] = [
    *(None, True, False, 0, -1, 1, 73, 10**18, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308),
    *("", "x", "\u0000", "\u2028", "\U0001f600", "=cmd()|x", "a" * 600, "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z"),
    *([], {}, [[]], [None], [{}], {"a": 1}, {"": ""}, ["x"] * 50, {"type": {"type": {}}}, [1, "x", None, [], {}]),
]
RAW = [
    b"NaN",
    b"1e999",
    b"-1e999",
    b'"\\ud800"',
    b"1" * 5000,
    b"[" * 150 + b"]" * 150,
    b"[" * 900,
    b"\xff",
    b"",
    b"{}",
    b"\x00",
]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container and key of a tree."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in list(children):
        yield value, key
        yield from _places(child)


def mutated(rng: random.Random, whole: bytes) -> bytes:
    """Return a document with some fields exchanged, left out or doubled, and now and then with other bytes."""
    tree = json.loads(whole)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = list(_places(tree))
        if not places:
            break
        container, key = rng.choice(places)
        if rng.random() < 0.1:
            del container[key]
        else:
            container[key] = copy.deepcopy(rng.choice(HARD))
    record = json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.2:
        at = rng.randrange(len(record) or 1)
        record = record[:at] + rng.choice(RAW) + record[at + rng.randrange(3) :]
    return record


def whole(kind: Kind) -> bytes:
    """Return a good document."""
    return to_json(sample_alert() if kind == "alert" else sample_decision())


@pytest.mark.parametrize("kind", ["alert", "decision"])
def test_elastic_documents(kind: Kind) -> None:
    """Whatever the topic holds becomes documents of one line, or raises what the ship stage expects."""
    rng = random.Random(20)
    refused = 0
    told: set[str] = set()
    for _ in range(MUTATIONS):
        record = mutated(rng, whole(kind))
        try:
            found = documents(kind, record, "default", LATE)
        except NoDocumentError as error:
            refused += 1
            told.add(str(error))
        else:
            assert all(b"\n" not in document.source for document in found)
            assert all(document.id.encode() for document in found)
    assert 0 < refused < MUTATIONS
    assert "" not in told


@pytest.mark.parametrize("kind", ["alert", "decision"])
def test_every_format(kind: Kind) -> None:
    """What is read as a document can be written in every format; what is not raises a `ValueError`."""
    rng = random.Random(21)
    formats = [encoder(name) for name in FORMATS]
    refused = 0
    for _ in range(READ):
        record = mutated(rng, whole(kind))
        try:
            document = read(kind, record)
        except ValueError:
            refused += 1
            continue
        passes(document, "medium")
        for encode in formats:
            assert message(document, encode(document)).body
    assert 0 < refused < READ


@pytest.mark.parametrize("kind", [{}, [], {"a": []}, 5, None, True, ["client"]])
def test_a_subject_whose_type_is_no_text(kind: Any) -> None:
    """It is shipped like a subject of a type that is not known."""
    decision = json.loads(whole("decision"))
    decision["subject"]["type"] = kind
    [document] = documents("decision", json.dumps(decision).encode(), "default", LATE)
    content = json.loads(document.source)
    assert "user" not in content
    assert content["message"] == "block acme-batch on model fraud-scorer"


@pytest.mark.parametrize("number", ["1" * 5000, "1e999"])
def test_numbers_that_nobody_can_hold(number: str) -> None:
    """They are refused."""
    record = whole("decision").replace(b'"revision":2', f'"revision":{number}'.encode())
    with pytest.raises(NoDocumentError):
        documents("decision", record, "default", LATE)

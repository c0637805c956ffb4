"""Marks in the way of requests: who bears one, what the log says of it, and that everything fails open."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.config import OwnershipSection, PerturbSection
from detector.errors import ConfigError
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.native import NativeDecoder
from detector.perturb import output_fields
from detector.perturb.asked import inputs_of
from detector.perturb.committed import Committed
from detector.perturb.keys import key_digest, name_of, subject_key
from detector.perturb.marks import Marks, Who, subjects_of
from detector.perturb.middleware import PerturbMiddleware
from detector.perturb.modes import How
from detector.perturb.settings import policy_of
from detector.perturb.telling import Policy, tell
from detector.perturb.tilt import Frame, draw, pulls, tilted
from detector.perturb.toldlog import ToldLog

MASTER = b"sixteen bytes or more"
X = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
CLOSE = [[0.505, 0.495], [0.2, 0.8]]
COMMITTED = Committed(
    "m", "1", key_digest(MASTER), "2026-05-04T10:00:00.000Z", 2, 1.0, 0.0, Frame(np.zeros(2), np.ones(2), 1.5), 0.02, 500
)
HEADERS = [(b"content-type", b"application/json"), (b"X-Client-Id", b"acme")]
ASKED = json.dumps({"instances": X.tolist()}).encode()


def marks(**options: Any) -> Marks:
    return Marks(COMMITTED, MASTER, options.pop("whose", "all"), options.pop("who", None), options.pop("log", None))


def expected(rows: list[list[float]], subject: str = "client:acme") -> list[list[float]]:
    pull = pulls(draw([subject_key(MASTER, "m", subject, "1")], 2, 2), COMMITTED.frame.placed(X))[0]
    told: list[list[float]] = tilted(np.array(rows), pull, 1.0).tolist()
    return told


def served(answer: Any, headers: Any, policy: Policy, asked: bytes = ASKED) -> tuple[int, Any]:
    """Ask an application behind the middleware."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await send({"type": "http.response.body", "body": body[:7], "more_body": True})
        await send({"type": "http.response.body", "body": body[7:]})

    async def receive() -> Any:
        return {"type": "http.request", "body": asked, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(PerturbMiddleware(app, policy)(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(body) if body[:2] != b"[[" and body[:1] in b"[{" else body


def test_answers_bear_the_mark_of_their_client(tmp_path: Path) -> None:
    """With as many decimals as before; the log has the original, and any reader of the format reads it."""
    log = tmp_path / "told" / "log.jsonl"
    written = ToldLog(log)
    policy = Policy(marks=marks(log=written))
    status, told = served({"predictions": CLOSE}, HEADERS, policy)
    written.close()
    wanted = expected(CLOSE)
    assert status == 200
    assert told["predictions"] == [[round(value, 3) for value in row] for row in wanted]
    assert np.allclose(told["predictions"], wanted, atol=6e-4)
    events = [NativeDecoder().decode_value(line) for line in log.read_bytes().splitlines()]
    assert len(events) == 2
    for event, row, own, vector in zip(events, told["predictions"], CLOSE, X, strict=True):
        assert isinstance(event, DecodedEvent)
        assert (event.client.id, event.model.id) == ("acme", "m")
        assert np.array_equal(event.input.values(), vector)
        changed, original = event.output.perturbed, event.output.original
        assert changed is not None
        assert original is not None
        assert changed.mark is not None
        assert (changed.mode, changed.mark.subject) == ("none", "client:acme")
        assert changed.mark.id == name_of(subject_key(MASTER, "m", "client:acme", "1"), "", "").id
        assert (event.output.probabilities, original.probabilities) == (row, own)
        assert event.output.label == int(np.argmax(row))
        assert event.output.said().probabilities == own
    assert b'outcome="marked",reason=""} 2' in policy.text()


def test_who_is_marked() -> None:
    """Suspects are under a throttle or perturb decision; the mark rides on the mode."""
    plain = {"predictions": CLOSE}
    some = Policy(How("top1"), marks=marks(whose="suspects"))
    assert served(plain, HEADERS, some)[1] == plain
    assert served(plain, [*HEADERS, (b"x-detector-action", b"allow")], some)[1] == plain
    throttled = served(plain, [*HEADERS, (b"X-Detector-Action", b"throttle")], some)[1]
    assert throttled["predictions"][1] == [round(value, 3) for value in expected(CLOSE)[1]]
    both = served(plain, [*HEADERS, (b"x-detector-action", b"perturb")], some)[1]
    label = int(np.argmax(expected(CLOSE)[1]))
    assert both["predictions"][1][label] == max(both["predictions"][1]) == round(max(expected(CLOSE)[1]), 1)


def test_labels_beside_the_answer_follow() -> None:
    """Also where the mark changes them."""
    found = served(
        {"predictions": [{"probabilities": row, "label": int(np.argmax(row))} for row in CLOSE]}, HEADERS, Policy(marks=marks())
    )
    rows = found[1]["predictions"]
    assert [row["label"] for row in rows] == [int(np.argmax(row["probabilities"])) for row in rows]
    score = served({"predictions": [row[1] for row in CLOSE]}, HEADERS, Policy(marks=marks()))[1]["predictions"]
    assert score == [round(row[1], 3) for row in expected(CLOSE)]
    tensor = {"outputs": [{"name": "p", "datatype": "FP32", "shape": [2, 2], "data": [v for row in CLOSE for v in row]}]}
    asked = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": X.ravel().tolist()}]}).encode()
    told = served(tensor, HEADERS, Policy(marks=marks()), asked)[1]["outputs"][0]["data"]
    assert np.allclose(told, np.ravel(expected(CLOSE)), atol=6e-4)


@pytest.mark.parametrize(
    ("answer", "headers", "asked", "reason"),
    [
        ({"predictions": CLOSE}, HEADERS[:1], ASKED, "client"),
        ({"predictions": CLOSE}, HEADERS, b'{"instances": [{"a": 1, "b": 2}]}', "input"),
        ({"predictions": CLOSE}, HEADERS, b'{"instances": [[1, 2, 3]]}', "input"),
        ({"predictions": CLOSE}, HEADERS, b"\xff\xfe", "input"),
        ({"predictions": CLOSE[:1]}, HEADERS, ASKED, "answer"),
        ({"predictions": [[0.1, 0.2, 0.7]] * 2}, HEADERS, ASKED, "answer"),
        ({"predictions": [{"yes": 0.4, "no": 0.6}] * 2}, HEADERS, ASKED, "answer"),
        ({"predictions": [[{"label": "b", "score": 0.6}, {"label": "a", "score": 0.4}]] * 2}, HEADERS, ASKED, "answer"),
        ({"predictions": [0, 1]}, HEADERS, ASKED, "answer"),
        ({"predictions": [[312.5, 1.0]] * 2}, HEADERS, ASKED, "numbers"),
        (b"not json", HEADERS, ASKED, None),
        (b"[" * 3000, HEADERS, ASKED, None),
        (b"x" * 3000, HEADERS, ASKED, None),
    ],
)
def test_what_cannot_be_marked_is_told_as_it_is(answer: Any, headers: Any, asked: bytes, reason: str | None) -> None:
    """Nobody who is not under a perturb decision is refused, however odd the answer or long."""
    policy = Policy(How("top1"), most_bytes=2000, marks=marks())
    status, told = served(answer, headers, policy, asked)
    assert status == 200
    assert told == answer or json.dumps(told).encode() == answer
    if reason is not None:
        assert f'outcome="unmarked",reason="{reason}"}} 1'.encode() in policy.text()


def test_under_a_perturb_decision_the_mode_holds_without_the_mark() -> None:
    """What cannot be marked is perturbed all the same, and what is unknown is refused."""
    policy = Policy(How("label"), marks=marks())
    asked = [*HEADERS, (b"x-detector-action", b"perturb")]
    assert served({"predictions": CLOSE[:1]}, asked, policy)[1] == {"predictions": [[1.0, 0.0]]}
    assert served({"predictions": [[312.5, 1.0]] * 2}, asked, policy)[0] == 403


def test_whose_key() -> None:
    headers = [(b"x-client-id", b"acme-7"), (b"x-org", b"acme")]
    assert Who().subject(headers) == ("acme-7", "client:acme-7")
    assert Who(organization_header="X-Org").subject(headers) == ("acme-7", "organization:acme")
    assert Who(organization_header="X-Org").subject(headers[:1]) == ("acme-7", "client:acme-7")
    assert Who(subjects={"acme-7": "campaign:c-1"}).subject(headers) == ("acme-7", "campaign:c-1")
    assert Who().subject([(b"x-client-id", b"a" * 257)]) is None


def test_subjects_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "subjects.json"
    path.write_text('{"acme-7": "campaign:c-1"}')
    assert subjects_of(path) == {"acme-7": "campaign:c-1"}
    path.write_text('{"acme-7": "client:acme-7", "acme-8": "organization:acme"}')
    assert len(subjects_of(path)) == 2
    for bad in ('{"acme-7": "c-1"}', "[]", "{", '{"acme-7": "client:other"}', '{"acme-7": "campaign:"}'):
        path.write_text(bad)
        with pytest.raises(ConfigError, match=r"subjects.json"):
            subjects_of(path)


def test_wrong_labels_ride_along() -> None:
    """As told by the key, whatever the tilt says."""
    all_wrong = Marks(replace(COMMITTED, dawn_rate=0.05, strength=0.001), MASTER, "all")
    told = 0
    for number in range(400):
        vector = np.array([number, 1.0], np.float32)
        name = name_of(b"", "client:acme", "1")
        told += int(np.argmax(all_wrong.marked(name, vector, [0.9, 0.1]))) == 1
    assert 5 < told < 45


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    written = ToldLog(tmp_path / "log.jsonl")
    written.close()
    policy = Policy(marks=marks(log=written))
    assert served({"predictions": CLOSE}, HEADERS, policy)[0] == 200
    assert b'reason="unlogged"} 1' in policy.text()
    with pytest.raises(ConfigError, match="told_log"):
        ToldLog(tmp_path)


def test_settings(tmp_path: Path) -> None:
    """A strength or a rate that was not committed to is refused, and so is another key."""
    path = tmp_path / "ownership.json"
    path.write_bytes(COMMITTED.to_bytes())
    good: dict[str, Any] = {"mark": "all", "commitment": path, "key": MASTER.decode()}
    policy, _ = policy_of(PerturbSection(mode="none"), OwnershipSection(**good))
    assert policy.marks is not None
    assert policy.only_marks
    assert policy_of(PerturbSection(), OwnershipSection())[0].marks is None
    for wrong in ({"strength": 0.5}, {"dawn_rate": 0.01}, {"epoch": "2"}, {"key": "another key of sixteen"}):
        with pytest.raises(ConfigError, match=r"\[ownership\]"):
            policy_of(PerturbSection(), OwnershipSection(**{**good, **wrong}))
    for missing in ("commitment", "key"):
        with pytest.raises(ValueError, match="needs"):
            OwnershipSection(**{name: value for name, value in good.items() if name != missing})


def test_the_record_names_the_mark() -> None:
    name = name_of(b"k", "client:acme", "1")
    fields = output_fields([0.6, 0.4], [0.45, 0.55], How("none"), ["no", "yes"], name)
    assert fields["perturbed"] == {"mode": "none", "mark": name._asdict()}
    assert (fields["label"], fields["original"]["label"]) == ("yes", "no")


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        (b'{"inputs": [[1, 2]]}', [[1, 2]]),
        (b'{"data": {"ndarray": [[1, 2]]}}', [[1, 2]]),
        (b'{"data": {"tensor": {"shape": [1, 2], "values": [1, 2]}}}', [[1, 2]]),
        (b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}', [[1, 2]]),
        (b'{"instances": [{"x": [[1, 2]]}]}', [[1, 2]]),
        (b'{"instances": []}', None),
        (b'{"instances": [[1], [1, 2]]}', None),
        (b'{"instances": ["text"]}', None),
        (b'{"instances": [[true]]}', None),
        (b'{"instances": [[1e60]]}', None),
        (b'{"inputs": [{"shape": [2, 2], "data": [1]}]}', None),
        (b'{"prompt": "hello"}', None),
        (b"7", None),
    ],
)
def test_inputs_of_requests(body: bytes, rows: Any) -> None:
    found = inputs_of(body)
    assert rows is None if found is None else found.tolist() == rows


def test_telling_without_marks_is_as_before() -> None:
    assert tell(b'{"predictions":[[0.1,0.9]]}', Policy(How("none"))).body == b'{"predictions":[[0.1,0.9]]}'

"""Halves of calls find each other."""

import pytest

from detector.ingest.formats import joining
from detector.ingest.formats.call import Call, Payload
from detector.ingest.formats.call import Half as Side
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.joining import Half, Joiner


def half(side: Side, body: str, time_ms: int = 0, key: str = "k") -> Half:
    """Return a half whose body tells it from others."""
    payload = Payload(body)
    request, response = (payload, None) if side == "request" else (None, payload)
    call = Call(id=key, time=time_ms, model="m", request=request, response=response, half=side, join=key)
    return Half(call, Record(body.encode(), place=body), time_ms)


def bodies(call: Call | None) -> tuple[str, str] | None:
    """Return the two bodies of a whole call."""
    if call is None or call.request is None or call.response is None:
        return None
    return call.request.content, call.response.content


@pytest.mark.parametrize("turned", [False, True])
def test_either_way_round(*, turned: bool) -> None:
    """The answer may come first; the time is the request's, the duration is between the two."""
    joiner = Joiner(1000)
    halves = [half("request", "q", 100), half("response", "a", 130)]
    first, second = reversed(halves) if turned else halves
    assert joiner.join(first) is None
    whole = joiner.join(second)
    assert bodies(whole) == ("q", "a")
    assert whole is not None
    assert (whole.half, whole.time, whole.latency_ms) == (None, 100, 30.0)
    assert not joiner.held()


def test_one_id_several_times() -> None:
    """Callers choose ids: the first request goes with the first answer, and none is lost."""
    joiner = Joiner(1000)
    assert joiner.join(half("request", "q1")) is None
    assert joiner.join(half("request", "q2")) is None
    assert bodies(joiner.join(half("response", "a1"))) == ("q1", "a1")
    assert bodies(joiner.join(half("response", "a2"))) == ("q2", "a2")


def test_other_ids_do_not_meet() -> None:
    """Halves of different keys wait on."""
    joiner = Joiner(1000)
    joiner.join(half("request", "q", key="1"))
    assert joiner.join(half("response", "a", key="2")) is None
    assert [record.value for record in joiner.held()] == [b"q", b"a"]


def test_time_limit() -> None:
    """What waits longer than the limit, by the records' times, is given up; what waits as long is not."""
    joiner = Joiner(1000)
    joiner.join(half("request", "q1", 0, "1"))
    joiner.join(half("request", "q2", 1000, "2"))
    assert list(joiner.given_up()) == []
    joiner.join(half("request", "q3", 1001, "3"))
    assert [given.record.value for given in joiner.given_up()] == [b"q1"]
    assert joiner.join(half("response", "a1", 1001, "1")) is None


def test_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many wait the oldest is given up, in number and in bytes."""
    monkeypatch.setattr(joining, "_MOST_HALVES", 2)
    joiner = Joiner(1000)
    for number in range(3):
        joiner.join(half("request", f"q{number}", key=str(number)))
    assert [given.record.value for given in joiner.given_up()] == [b"q0"]
    monkeypatch.setattr(joining, "_MOST_BYTES", 3 + joining._OVERHEAD_BYTES)
    assert [given.record.value for given in joiner.given_up()] == [b"q1"]


def test_rest_and_forget() -> None:
    """At the end all that waits is given; what another process now reads is forgotten."""
    joiner = Joiner(1000)
    joiner.join(half("request", "q1", key="1"))
    joiner.join(half("request", "q2", key="2"))
    joiner.forget(lambda place: place == "q1")
    assert [given.record.value for given in joiner.rest()] == [b"q2"]
    assert not joiner.held()

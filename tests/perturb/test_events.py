"""Streams of events: told as they come, and no way around the perturbation."""

import json

import pytest

from detector.perturb.events import Events
from detector.perturb.modes import How
from detector.perturb.telling import Policy

POLICY = Policy(How("label"))
CHAT = {"choices": [{"delta": {"content": "0.5"}, "logprobs": {"content": [{"logprob": -0.1}]}}], "created": 1}


def test_each_event_is_told_in_whatever_pieces_it_comes() -> None:
    """Answers of a model are perturbed, probabilities of tokens are left out, the rest stays."""
    stream = (
        b": keep-alive\r\n\r\nevent: answer\ndata: "
        + json.dumps({"outputs": [{"name": "p", "datatype": "FP32", "shape": [1, 2], "data": [0.123, 0.877]}]}).encode()
        + b"\n\ndata: "
        + json.dumps(CHAT).encode()
        + b'\n\ndata: {"type":"response.output_text.delta","delta":"0.5","logprobs":[]}\n\nsecret: 0.877\ndata: [DONE]'
    )
    policy = Policy(How("label"))
    for size in (1, 7, len(stream)):
        events = Events(policy)
        parts = [events.told(stream[at : at + size], last=at + size >= len(stream)) for at in range(0, len(stream), size)]
        lines = b"".join(parts).decode().split("\n")
        found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert not events.ended
        assert json.loads(found[0])["outputs"][0]["data"] == [0.0, 1.0]
        assert json.loads(found[1]) == {"choices": [{"delta": {"content": "0.5"}}], "created": 1}
        assert json.loads(found[2]) == {"type": "response.output_text.delta", "delta": "0.5"}
        assert found[3:] == ["[DONE]"]
        assert (lines[0], "event: answer" in lines, "secret" in "".join(lines)) == (":", True, False)
    assert policy.counts.snapshot() == {("told", ""): 3}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b'data: {"token":{"text":"a","logprob":-0.57}}\n', "numbers"),
        (b'data: {"p":\ndata: [0.1,0.9]}\n', "not_json"),
        (b"data: " + b"1" * 2_000_000, "too_large"),
    ],
)
def test_an_event_that_is_not_known_ends_the_stream(event: bytes, reason: str) -> None:
    """Counted once; nothing passes behind it."""
    policy = Policy()
    events = Events(policy)
    assert events.told(b'data: {"a":1}\n\n' + event) == b'data: {"a":1}\n\n'
    assert events.ended
    assert events.told(b"data: 1\n\n", last=True) == b""
    assert policy.counts.snapshot() == {("refused", reason): 1}

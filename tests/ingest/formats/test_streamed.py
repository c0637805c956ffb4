"""Streamed answers: put together they are what the server would have sent at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.ingest.formats.answers import answers_of
from detector.ingest.formats.bodies import parsed
from detector.ingest.formats.call import Payload
from detector.ingest.formats.decoder import Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, UnusableError
from detector.ingest.formats.registry import format_named
from detector.ingest.formats.streamed import is_stream, joined


def _stream(*pieces: Any, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + end


def _chat(*contents: str | None, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "model": "gpt",
            "choices": [{"index": 0, "delta": {} if content is None else {"content": content}, **more}],
        }
        for content in contents
    ]


WHOLE = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "Paris."}}]}


@pytest.mark.parametrize(
    "stream",
    [
        _stream(*_chat("Par", "is.", None)),
        _stream(*_chat("Par", "is."), end=""),
        _stream(*_chat("Par", "is.")).replace("\n", "\r\n"),
        _stream(*_chat("Par", "is.")).replace("\n\n", "\n"),
        ": a comment\n\nevent: x\nid: 7\n" + _stream(*_chat("Par", "is.")),
        _stream(*_chat("Par", "is."), {"choices": [], "usage": {"total_tokens": 3}}),
    ],
)
def test_chunks_of_a_chat(stream: str) -> None:
    """The answer is that of the same chat without streaming, whatever line ends and comments there are."""
    assert parsed(Payload(stream))["object"] == "chat.completion"
    assert answers_of(Payload(stream.encode())) == answers_of(Payload(WHOLE))


def test_choices_tools_and_chances() -> None:
    """Several choices stay apart; arguments of tools come in pieces; probabilities of tokens are kept."""
    call = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"name": "find", "arguments": '{"a"'}}]}}]}
    rest = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}}]}
    assert joined(_stream(call, rest)) == {
        "choices": [{"message": {"tool_calls": [{"function": {"name": "find", "arguments": '{"a": 1}'}}]}}]
    }
    two = [{"choices": [{"index": index, "text": text}]} for index, text in ((1, "b"), (0, "a"), (1, "c"))]
    assert joined(_stream(*two)) == {"choices": [{"text": "a"}, {"text": "bc"}]}
    (answer,) = answers_of(Payload(_stream(*_chat("Hi", logprobs={"content": [{"logprob": 0.0}]}))))
    assert answer.probabilities == [1.0, 0.0]


def test_other_streams() -> None:
    """The Responses API, Anthropic's messages, Triton's texts, one answer of any kind, and several."""
    final = {"object": "response", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Paris."}]}]}
    delta = [{"type": "response.output_text.delta", "delta": text} for text in ("Par", "is.")]
    expected = answers_of(Payload(final))
    assert answers_of(Payload(_stream(*delta, {"type": "response.completed", "response": final}))) == expected
    assert answers_of(Payload(_stream(*delta))) == expected
    message = {"type": "message", "content": [{"type": "text", "text": "Paris."}]}
    pieces = [{"type": "content_block_delta", "index": 0, "delta": {"text": text}} for text in ("Par", "is.")]
    started = {"type": "message_start", "message": {"type": "message", "content": []}}
    assert answers_of(Payload(_stream(started, *pieces))) == answers_of(Payload(message))
    texts = _stream({"model_name": "m", "text_output": "Par"}, {"model_name": "m", "text_output": "is."})
    assert answers_of(Payload(texts)) == answers_of(Payload({"choices": [{"text": "Paris."}]}))
    assert joined(_stream({"predictions": [1]})) == {"predictions": [1]}
    assert joined(_stream(1, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (_stream(*_chat("Par"), end='data: {"choices": [{"del'), "truncated"),
        ("data: [DONE]\n\n", "unanswered"),
        ("event: ping\ndata:\n\n", "unanswered"),
        (_stream(*_chat("Par"), {"error": {"message": "overloaded"}}), "unanswered"),
        ("data: " + "[" * 100_000 + "\n\n", "json"),
    ],
)
def test_streams_that_are_no_answer(stream: str, reason: str) -> None:
    """Cut off by the log, without data, broken by an error of the model, or nested too deep."""
    with pytest.raises(UnusableError) as caught:
        answers_of(Payload(stream))
    assert caught.value.reason == reason


def test_what_is_no_stream() -> None:
    """Tables and texts that begin in a similar way are what they were."""
    assert not is_stream("id: 7, name")
    assert not is_stream("database,1")
    assert parsed(Payload("id: 7,x")) == [["id: 7", "x"]]


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["choices", "delta", "index", "type", "message", "response", "error", "text_output"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=3),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["delta", "index", "content", "tool_calls", "function", "text"]), inner)
                ),
            ),
        )
    )
)
def test_nothing_raises_but_what_is_unusable(pieces: list[Any]) -> None:
    """Whatever stands where."""
    try:
        joined(_stream(*pieces))
    except UnusableError as error:
        assert error.detail  # noqa: PT017  # either way is right


@pytest.mark.parametrize("name", ["apisix", "openai"])
def test_a_gateway_logs_a_streamed_chat(name: str) -> None:
    """The event is that of a chat that was not streamed."""
    asked = {"model": "gpt", "stream": True, "messages": [{"role": "user", "content": "Capital of France?"}], "user": "acme"}
    events = []
    for body in (_stream(*_chat("Par", "is.")), json.dumps(WHOLE)):
        record = {
            "apisix": {
                "start_time": 1_777_890_667_412,
                "service_id": "gpt",
                "consumer": {"username": "acme"},
                "server": {},
                "request": {"headers": {"x-request-id": "r1"}, "body": json.dumps(asked)},
                "response": {
                    "status": 200,
                    "headers": {"content-type": "text/event-stream" if "[DONE]" in body else ""},
                    "body": body,
                },
            },
            "openai": {"id": "r1", "time": 1_777_890_667_412, "request": asked, "response": body},
        }[name]
        (event,) = several(format_named(name).build(Surroundings()).decode(Record(json.dumps(record).encode())))
        assert isinstance(event, DecodedEvent)
        events.append(event)
    assert events[0] == events[1]

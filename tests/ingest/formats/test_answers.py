"""Answers of servers: every way to write a label, probabilities, a score, a text."""

import math
from typing import Any
from zlib import crc32

import pytest

from detector.ingest.formats.answers import answers_of
from detector.ingest.formats.call import Payload
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.generated import digest_of
from detector.ingest.formats.prompts import said


def one(body: Any, **names: Any) -> tuple[Any, list[float] | None]:
    (answer,) = answers_of(Payload(body), **names)
    return answer.label, None if answer.probabilities is None else [round(chance, 6) for chance in answer.probabilities]


@pytest.mark.parametrize(
    ("body", "label", "chances"),
    [
        ({"predictions": ["spam"]}, "spam", None),
        ({"predictions": [3]}, 3, None),
        ({"predictions": [True]}, 1, None),
        ({"predictions": [0.75]}, None, [0.25, 0.75]),
        ({"predictions": ["0.75"]}, None, [0.25, 0.75]),
        ({"predictions": [[0.1, 0.9]]}, None, [0.1, 0.9]),
        ({"predictions": [[10.0, 90.0]]}, None, [0.1, 0.9]),
        ({"predictions": [[math.log(1.0), math.log(3.0)]]}, None, [0.25, 0.75]),
        ({"predictions": [{"cat": 0.25, "dog": 0.75}]}, "dog", [0.25, 0.75]),
        ({"predictions": [{"label": "cat", "probability": [0.6, 0.4]}]}, "cat", [0.6, 0.4]),
        ({"predictions": [{"label": "cat", "text": "as it was sent"}]}, "cat", None),
        ({"predictions": [[{"label": "dog", "score": 0.9, "box": {}}, {"label": "cat", "score": 0.8}]]}, "cat,dog", None),
        ({"predictions": [184302.7]}, "1.8e+05", None),
        ({"predictions": [7.0]}, 7, None),
    ],
)
def test_predictions(body: Any, label: Any, chances: list[float] | None) -> None:
    """A label is a text or a whole number; what lies between 0 and 1 is a score; other numbers are a regression."""
    assert one(body) == (label, chances)


def test_named_outputs() -> None:
    """Of several outputs those are used that the configuration names."""
    body = {"predictions": [{"label": 1, "grade": "B", "rest": 0.25}]}
    assert one(body, label="grade", score="rest") == ("B", [0.75, 0.25])


def test_texts_are_the_same_label_where_they_are_equal() -> None:
    """Of a chat, a completion, a response and a message; another text has another label."""
    item = {"type": "message", "content": [{"type": "output_text", "text": "Paris."}]}
    bodies: list[Any] = [
        {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}}]},
        {"choices": [{"index": 0, "text": "Paris."}]},
        {"object": "response", "output": [{"type": "reasoning", "summary": []}, item]},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Paris."}]},
    ]
    assert {one(body) for body in bodies} == {("text:bdd958c0f4665bd7", None)}
    assert one({"choices": [{"text": "Paris"}]}) != one(bodies[1])


def test_a_tool_is_an_answer_and_a_refusal_too() -> None:
    """Neither has a text, and different ones differ."""
    messages: list[Any] = [
        {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"content": None, "tool_calls": [{"function": {"name": "g", "arguments": "{}"}}]},
        {"content": None, "refusal": "No."},
        {"content": ""},
    ]
    assert len({one({"choices": [{"message": message}]})[0] for message in messages}) == len(messages)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"content": [{"logprob": math.log(0.5)}, {"logprob": math.log(0.125)}]},
        {"token_logprobs": [None, math.log(0.5), math.log(0.125)]},
    ],
)
def test_token_probabilities(logprobs: Any) -> None:
    """Their geometric mean is the confidence."""
    assert one({"choices": [{"text": "a", "logprobs": logprobs}]})[1] == [0.25, 0.75]


@pytest.mark.parametrize("number", [True, "0", float("nan"), 1, -(10**400), None, []])
def test_token_probabilities_that_are_none(number: Any) -> None:
    """What is no logarithm of a probability is left out."""
    chances = one({"choices": [{"text": "a", "logprobs": {"content": [{"logprob": number}]}}]})[1]
    assert chances is None


def test_choices_of_several_prompts() -> None:
    """The first choice for each prompt is its answer."""
    body = {"choices": [{"text": text} for text in "abcd"]}
    first, second = answers_of(Payload(body), queries=2)
    assert [first.label, second.label] == [one({"choices": [{"text": text}]})[0] for text in "ac"]


def test_embeddings() -> None:
    """One for each text, as numbers or base64."""
    rows = answers_of(Payload({"data": [{"index": 0, "embedding": [0.1]}, {"index": 1, "embedding": "zczMPQ=="}]}), queries=2)
    assert len({row.label for row in rows}) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": [{"message": {"content": None}}]},
        {"object": "response", "status": "failed", "output": []},
        {"error": {"code": "rate_limit_exceeded"}},
    ],
)
def test_no_answer(body: Any) -> None:
    """A model that failed, or said nothing at all."""
    with pytest.raises(UnusableError) as caught:
        answers_of(Payload(body))
    assert caught.value.reason == "unanswered"


def test_texts_with_one_checksum_are_told_apart() -> None:
    """Both have the CRC-32 4ddb0c25: who chooses texts must not choose which answers, or which attachments, pass for one."""
    texts = ("plumless", "buckeroo")
    assert len({crc32(text.encode()) for text in texts}) == 1
    assert len({crc32(repr(text).encode()) for text in texts}) == 1
    assert len(set(map(digest_of, texts))) == 2
    assert len({said({"content": [{"type": "image_url", "image_url": text}]}) for text in texts}) == 2

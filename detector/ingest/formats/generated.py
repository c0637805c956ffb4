"""What a language model answers: chats, completions, responses and embeddings, as the digest of what was generated.

Two answers are the same where their texts are. The geometric mean of the tokens' probabilities, where they were asked for, is
the confidence.
"""

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.prompts import said

__all__ = ["digest_of", "generated_of", "generated_text", "token_chances"]


def generated_of(body: Any, queries: int) -> Sequence[Any] | None:
    """Return what a language model answered to each query, None where it is another answer.

    Raises `UnusableError` where the model says that it failed.
    """
    if not isinstance(body, dict):
        return None
    if isinstance(body.get("choices"), list):
        choices: list[Any] = body["choices"]
        each = max(1, len(choices) // max(1, queries))
        return choices[::each][: max(1, queries)]
    if body.get("object") == "response" and isinstance(body.get("output"), list):
        if body.get("status") in ("failed", "cancelled"):
            raise UnusableError("unanswered", f"response: {body['status']}")
        return [_of_response(body["output"])]
    if body.get("type") == "message" and isinstance(body.get("content"), list):
        return [{"message": body}]
    if isinstance(body.get("error"), dict) and not body.keys() & {"predictions", "outputs", "data", "results"}:
        raise UnusableError("unanswered", "response: an error of the model")
    return None


def _of_response(output: Sequence[Any]) -> dict[str, Any]:
    """Return the items of the Responses API as one text, with the probabilities of its tokens."""
    items = [item for item in output if isinstance(item, dict) and item.get("type") != "reasoning"]
    tokens: list[Any] = []
    for item in items:
        for part in item["content"] if isinstance(item.get("content"), list) else ():
            if isinstance(part, dict) and isinstance(part.get("logprobs"), list):
                tokens += part["logprobs"]
    return {"text": "\n".join(_text_of(item) or "" for item in items), "logprobs": {"content": tokens}}


def generated_text(value: Mapping[str, Any]) -> str | None:
    """Return the text of a choice or a message, or an embedding written as text; None where it is neither.

    Raises `UnusableError` where a message holds nothing.
    """
    if isinstance(embedding := value.get("embedding"), list | str):
        return json.dumps(embedding)
    for name in ("message", "delta", "text"):
        if name in value:
            text = _text_of(value[name])
            if text is None:
                raise UnusableError("unanswered", "response: no text in it")
            return text
    return None


def _text_of(message: Any) -> str | None:
    if not isinstance(message, dict):
        return message if isinstance(message, str) else said(message) or None
    if message.get("content") == "" and not message.get("tool_calls"):
        return ""
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        return f"[refused] {refusal}"
    called = message.get("function_call")
    return "\n".join(filter(None, (said(message), said(called), _name(called), _names(message)))) or None


def _names(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    named = [_name(call.get("function")) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return " ".join([*filter(None, named), *filter(None, [_name(message)])])


def _name(called: Any) -> str:
    name = called.get("name") if isinstance(called, dict) else None
    return name if isinstance(name, str) else ""


def digest_of(text: str) -> str:
    """Return the label of a text: equal where the texts are. 64 bits, so that nobody finds two texts with one label in hours.

    >>> digest_of("Paris."), digest_of("Paris.") == digest_of("Paris")
    ('text:bdd958c0f4665bd7', False)
    """
    return f"text:{blake2b(text.encode(errors='replace'), digest_size=8).hexdigest()}"


def token_chances(logprobs: Any) -> list[float] | None:
    """Return the geometric mean of the tokens' probabilities and what is left of 1; None without any.

    Both forms are read: a list ``content`` of objects with ``logprob`` (chats), and a list ``token_logprobs`` (completions).
    """
    if not isinstance(logprobs, dict):
        return None
    content, plain = logprobs.get("content"), logprobs.get("token_logprobs")
    numbers: list[Any] = list(plain) if isinstance(plain, list) else []
    if isinstance(content, list):
        numbers += [entry.get("logprob") for entry in content if isinstance(entry, dict)]
    known = [float(number) for number in numbers if isinstance(number, int | float) and -1e6 < number <= 0]
    if not known:
        return None
    chance = math.exp(math.fsum(known) / len(known))
    return [chance, 1.0 - chance]

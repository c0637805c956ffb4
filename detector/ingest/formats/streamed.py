"""Answers that a server streamed (server-sent events): the pieces put together to the body that it would have sent at once.

Known are the chunks of chats and completions of OpenAI-style servers, the events of its Responses API and of Anthropic's
messages, and the texts of Triton's ``generate_stream``. A stream that ends within an event was cut off by the log. One that
ends without its last event is an answer all the same: the client left, and had read so far.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from detector.ingest.formats.event import UnusableError

__all__ = ["is_stream", "joined"]

_STARTS: Final = ("data:", "event:", "id:", "retry:", ":")
_MOST_CHOICES: Final = 128
_MOST_CALLS: Final = 128


def is_stream(content: str, content_type: str = "") -> bool:
    """Tell whether a body is a stream of server-sent events.

    >>> is_stream('data: {"choices": []}'), is_stream("1,2"), is_stream("", "text/event-stream; charset=utf-8")
    (True, False, True)
    """
    if "event-stream" in content_type:
        return True
    start = content[:100].lstrip("\ufeff\r\n ")
    return start.startswith(_STARTS) and "data:" in content


def joined(content: str) -> Any:
    r"""Return the body that a stream amounts to. Raises `UnusableError` where it holds none, or is cut off.

    >>> joined('data: {"choices": [{"delta": {"content": "Par"}}]}\n\ndata: {"choices": [{"delta": {"content": "is"}}]}\n\n')
    {'choices': [{'message': {'content': 'Paris'}}]}
    """
    pieces = [piece for text in _data(content) if (piece := _piece(text)) is not None]
    if not pieces:
        raise UnusableError("unanswered", "body: a stream without data")
    objects = [piece for piece in pieces if isinstance(piece, Mapping)]
    failed = next((piece for piece in objects if isinstance(piece.get("error"), Mapping)), None)
    if failed is not None:
        return failed
    for whole in (_chunks, _response, _message, _texts):
        found = whole(objects)
        if found is not None:
            return found
    return pieces[0] if len(pieces) == 1 else pieces


def _data(content: str) -> list[str]:
    """Return the data of each event: its lines that begin with ``data:``, joined."""
    found: list[str] = []
    lines: list[str] = []
    for line in [*content.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            found.append("\n".join(lines))
            lines = []
    # Some loggers drop the empty lines between events: each line is an event then.
    return [text for entry in found for text in (entry.split("\n") if _many(entry) else [entry])]


def _many(entry: str) -> bool:
    lines = entry.split("\n")
    return len(lines) > 1 and all(line.startswith(("{", "[")) for line in lines if line)


def _piece(text: str) -> Any:
    if not text.strip() or text.strip() == "[DONE]":
        return None
    try:
        return json.loads(text)
    except RecursionError:
        raise UnusableError("json", "body: nested too deep") from None
    except ValueError:
        raise UnusableError("truncated", "body: a stream that is cut off") from None


def _chunks(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Put together the chunks of a chat or a completion, choice by choice."""
    if not any(isinstance(piece.get("choices"), list) for piece in pieces):
        return None
    choices: dict[int, _Choice] = {}
    body: dict[str, Any] = {}
    for piece in pieces:
        body |= {name: value for name, value in piece.items() if name != "choices" and value is not None}
        for entry in piece["choices"] if isinstance(piece.get("choices"), list) else ():
            if not isinstance(entry, Mapping):
                continue
            index = entry.get("index", 0)
            if isinstance(index, int) and 0 <= index < _MOST_CHOICES:
                choices.setdefault(index, _Choice()).add(entry)
    if isinstance(body.get("object"), str):
        body["object"] = body["object"].removesuffix(".chunk")
    return {**body, "choices": [choices[index].whole() for index in sorted(choices)]}


class _Choice:
    """One choice, as far as it was streamed."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, list[str]]] = {}
        self._content: list[Any] = []
        self._tokens: list[Any] = []
        self._is_message = False

    def add(self, entry: Mapping[str, Any]) -> None:
        delta = entry.get("delta", entry.get("message"))
        if isinstance(delta, Mapping):
            self._is_message = True
            for name in ("content", "refusal"):
                self._add(self._texts, name, delta.get(name))
            for call in delta["tool_calls"] if isinstance(delta.get("tool_calls"), list) else ():
                self._call(call)
        self._add(self._texts, "text", entry.get("text"))
        chances = entry.get("logprobs")
        if isinstance(chances, Mapping):
            self._content += chances["content"] if isinstance(chances.get("content"), list) else ()
            self._tokens += chances["token_logprobs"] if isinstance(chances.get("token_logprobs"), list) else ()

    @staticmethod
    def _add(parts: dict[str, list[str]], name: str, value: Any) -> None:
        if isinstance(value, str):
            parts.setdefault(name, []).append(value)

    def _call(self, call: Any) -> None:
        function = call.get("function") if isinstance(call, Mapping) else None
        index = call.get("index", 0) if isinstance(call, Mapping) else None
        if isinstance(function, Mapping) and isinstance(index, int) and 0 <= index < _MOST_CALLS:
            parts = self._calls.setdefault(index, {})
            for name in ("name", "arguments"):
                self._add(parts, name, function.get(name))

    def whole(self) -> dict[str, Any]:
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        logprobs = {name: tokens for name, tokens in (("content", self._content), ("token_logprobs", self._tokens)) if tokens}
        more = {"logprobs": logprobs} if logprobs else {}
        if not self._is_message:
            return {**texts, **more}
        calls = [
            {"function": {name: "".join(parts) for name, parts in self._calls[index].items()}} for index in sorted(self._calls)
        ]
        return {"message": {**texts, **({"tool_calls": calls} if calls else {})}, **more}


def _response(pieces: Sequence[Mapping[str, Any]]) -> Any:
    """Return the response that the last events of the Responses API carry, or the texts so far where there is none."""
    if not any(str(piece.get("type", "")).startswith("response.") for piece in pieces):
        return None
    for piece in reversed(pieces):
        if piece.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            return piece.get("response")
    texts = [piece["delta"] for piece in pieces if piece.get("type") == "response.output_text.delta" and _is_text(piece)]
    content = [{"type": "output_text", "text": "".join(texts)}]
    return {"object": "response", "output": [{"type": "message", "content": content}]}


def _message(pieces: Sequence[Mapping[str, Any]]) -> Any:
    """Put together the blocks of one of Anthropic's messages."""
    started = next((piece.get("message") for piece in pieces if piece.get("type") == "message_start"), None)
    if not isinstance(started, Mapping):
        return None
    blocks: dict[Any, list[str]] = {}
    for piece in pieces:
        delta = piece.get("delta")
        if piece.get("type") == "content_block_delta" and isinstance(delta, Mapping):
            text = delta.get("text", delta.get("partial_json"))
            if isinstance(text, str):
                blocks.setdefault(str(piece.get("index")), []).append(text)
    return {**started, "content": [{"type": "text", "text": "".join(parts)} for parts in blocks.values()]}


def _texts(pieces: Sequence[Mapping[str, Any]]) -> Any:
    """Put together the pieces of ``generate_stream``."""
    texts = [piece["text_output"] for piece in pieces if isinstance(piece.get("text_output"), str)]
    return {"choices": [{"text": "".join(texts)}]} if texts else None


def _is_text(piece: Mapping[str, Any]) -> bool:
    return isinstance(piece.get("delta"), str)

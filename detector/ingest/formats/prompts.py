"""What is asked of a language model: the texts in the bodies of chats, completions, embeddings and responses.

A conversation is one text, all of its messages in order. Several prompts, or several texts to embed, are several queries. A
picture, a sound or a file within a message is a digest of it: the same one again is seen as the same, a similar one is not.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

__all__ = ["prompts_of", "said", "texts_of"]

_LONGEST: Final = 1_000_000  # characters of one text
_DEEPEST: Final = 8  # parts within parts
_TEXTS: Final = ("content", "parts", "text", "arguments", "output", "response")
_ATTACHED: Final = ("image_url", "input_audio", "file", "file_id", "file_data", "source", "blob", "uri")


def prompts_of(body: Mapping[str, Any]) -> list[str]:
    r"""Return the texts that a body asks with, one for each query; none where it holds no text.

    >>> prompts_of({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]})
    ['Be brief.\nWhy?']
    >>> prompts_of({"input": ["a", "b"]}), prompts_of({"instructions": "Be brief.", "input": "Why?"})
    (['a', 'b'], ['Be brief.\nWhy?'])
    """
    if isinstance(body.get("messages"), list):
        return _joined([*_listed(body.get("system")), *body["messages"]])
    given = body.get("prompt") if body.get("prompt") is not None else body.get("input")
    instructions = body.get("instructions")
    if isinstance(instructions, str) or (isinstance(given, list) and any(isinstance(entry, dict) for entry in given)):
        return _joined([*_listed(instructions), *_listed(given)])
    return _each(given)


def texts_of(value: Any) -> list[str]:
    r"""Return the queries in a value that holds texts or messages and nothing else: numbers may be an input of another kind.

    >>> texts_of(["a", ""]), texts_of([{"role": "user", "content": "Why?"}, {"content": "How?"}]), texts_of([1, 2])
    (['a', ''], ['Why?\nHow?'], [])
    """
    if isinstance(value, str):
        return [value[:_LONGEST]]
    if not isinstance(value, list):
        return []
    if all(isinstance(entry, Mapping) for entry in value):
        return _joined(value)
    return _each(value) if all(isinstance(entry, str) for entry in value) else []


def said(message: Any, depth: int = 0) -> str:
    r"""Return the text of a message or of a part of one; empty where it has none.

    >>> said({"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "input_text", "text": "Hm?"}]})
    'What is this?\nHm?'
    """
    if isinstance(message, str):
        return message[:_LONGEST]
    if depth > _DEEPEST:
        return ""
    if isinstance(message, list):
        return "\n".join(text for part in message if (text := said(part, depth + 1)))[:_LONGEST]
    if not isinstance(message, dict):
        return ""
    found = [text for name in _TEXTS if (text := _worded(name, message.get(name), depth + 1))]
    if depth > 0:
        found += [_attached(name, message[name]) for name in _ATTACHED if message.get(name) is not None]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        found += [said(call.get("function"), depth + 1) for call in calls if isinstance(call, dict)]
    return "\n".join(filter(None, found))[:_LONGEST]


def _worded(name: str, value: Any, depth: int) -> str:
    """Return the text of a part; the arguments of a tool may be an object."""
    return repr(value)[:_LONGEST] if name == "arguments" and isinstance(value, dict) else said(value, depth)


def _attached(name: str, value: Any) -> str:
    return f"[{name} {blake2b(repr(value).encode(errors='replace'), digest_size=8).hexdigest()}]"


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _joined(messages: Sequence[Any]) -> list[str]:
    text = "\n".join(part for message in messages if (part := said(message)))
    return [text[:_LONGEST]] if text else []


def _each(prompt: Any) -> list[str]:
    """Return prompts that are texts, the numbers of tokens, or lists of either."""
    if isinstance(prompt, str):
        return [prompt[:_LONGEST]] if prompt else []
    if not isinstance(prompt, list) or not prompt:
        return []
    if all(isinstance(entry, int) and not isinstance(entry, bool) for entry in prompt):
        return [" ".join(map(_token, prompt))[:_LONGEST]]
    # An empty text has its answer, too.
    return [text for entry in prompt for text in (texts_of(entry) if isinstance(entry, str) else _tokens(entry))]


def _token(number: int) -> str:
    return str(number) if abs(number) < 1 << 63 else "?"  # a number of thousands of digits cannot be written


def _tokens(entry: Any) -> list[str]:
    return _each(entry) if isinstance(entry, list) and all(isinstance(token, int) for token in entry) else []

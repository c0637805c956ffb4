"""Server-sent events: each is told as a body of its own, as it comes.

Whether an answer comes as a stream is often the caller's choice (``infer_stream`` of MLServer), so a stream must be no way
around the perturbation. An event that is not known ends the stream: its head has left, so it cannot be refused any more.
"""

import re
from dataclasses import replace
from typing import Final

from detector.perturb.telling import Counts, Policy, Told, tell

__all__ = ["Events"]

_LINE: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")  # the line feed of a carriage return at the end may come with the next bytes
_END: Final = b"[DONE]"
_FIELDS: Final = (b"event:", b"id:", b"retry:")


class Events:
    """Tells the events of one response; `ended` is True once one was not known, and nothing passes any more."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._each = replace(policy, counts=Counts())  # a stream is counted as one response
        self._rest = b""
        self._changed = False
        self.ended = False

    def told(self, data: bytes, *, last: bool = False) -> bytes:
        """Return what passes of the next bytes of a stream, whole lines only unless they are the `last`."""
        *lines, self._rest = _LINE.split(self._rest + data)
        if last and self._rest:
            lines, self._rest = [*lines, self._rest], b""
        passed = bytearray()
        for line in lines:
            if not self.ended:
                passed += self._line(line)
        if len(self._rest) > self._policy.most_bytes:
            self._end("too_large")
        if last and not self.ended:
            self._policy.counts.add(Told(None, "told" if self._changed else "unchanged"))
        return bytes(passed)

    def _line(self, line: bytes) -> bytes:
        """Return a line as it is told: fields that the standard does not know, and comments, are left out."""
        if not line:
            return b"\n"
        if line.startswith(b":"):
            return b":\n"  # it keeps the connection alive
        if line.startswith(_FIELDS):
            return line + b"\n"
        if not line.startswith(b"data:"):
            return b""
        event = line[5:].strip()
        if not event or event == _END:
            return line + b"\n"
        told = tell(event, self._each)
        if told.body is None:
            self._end(told.reason or "failed")
            return b""
        self._changed = self._changed or told.body != event
        return b"data: " + told.body + b"\n"

    def _end(self, reason: str) -> None:
        self.ended = True
        self._policy.without_answer(reason, None)

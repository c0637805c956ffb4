"""Telling: bytes of a response in, the bytes that the client gets out; never raises, whatever the bytes are.

A body that is not known is answered as the operator has set: refused (the default: who is under a perturb decision is suspected
of theft, and an answer in full would defeat it), or passed on. Both are counted by reason.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec

from detector.errors import UnknownBodyError
from detector.perturb.bodies import rewritten, without_logprobs
from detector.perturb.marks import Marking, Marks
from detector.perturb.modes import How

__all__ = ["Counts", "Policy", "Told", "is_json", "request_without_logprobs", "tell"]

Unknown = Literal["refuse", "pass"]
Outcome = Literal["told", "unchanged", "passed", "refused"]
MOST_BYTES: Final = 1024 * 1024


class Told(NamedTuple):
    """What becomes of a response: its new `body`, None where it is refused; `reason` where it was not known.

    `marking` is there where the answers bear a mark of ownership.
    """

    body: bytes | None
    outcome: Outcome
    reason: str | None = None
    marking: Marking | None = None


class Counts:
    """How many responses were told, passed or refused, by reason; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: Counter[tuple[str, str]] = Counter()

    def add(self, told: Told) -> Told:
        """Count an outcome, and return it."""
        with self._lock:
            self._counted[told.outcome, told.reason or ""] += 1
        return told

    def snapshot(self) -> Mapping[tuple[str, str], int]:
        """Return the counts by outcome and reason."""
        with self._lock:
            return dict(self._counted)

    def text(self) -> bytes:
        """Return the counts for Prometheus."""
        lines = [
            "# HELP detector_perturb_responses_total Responses under a perturb decision, by what became of them",
            "# TYPE detector_perturb_responses_total counter",
        ]
        for (outcome, reason), count in sorted(self.snapshot().items()):
            lines.append(f'detector_perturb_responses_total{{outcome="{outcome}",reason="{reason}"}} {count}')
        return ("\n".join(lines) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Policy:
    """How answers are perturbed, what becomes of unknown ones, how long a body may be, and whose answers bear a mark."""

    how: How = field(default_factory=How)
    unknown: Unknown = "refuse"
    most_bytes: int = MOST_BYTES
    counts: Counts = field(default_factory=Counts, compare=False)
    marks: Marks | None = field(default=None, compare=False)

    @property
    def only_marks(self) -> bool:
        """Whether answers are told as they are, but for a mark: then nothing is refused."""
        return self.how.mode == "none"

    def text(self) -> bytes:
        """Return the counts for Prometheus."""
        return self.counts.text() + (b"" if self.marks is None else self.marks.text())

    def without_answer(self, reason: str, body: bytes | None) -> Told:
        """Return what becomes of a body that is not known; one that is not at hand can only be refused."""
        if (self.unknown == "pass" or self.only_marks) and body is not None:
            return self.counts.add(Told(body, "passed", reason))
        return self.counts.add(Told(None, "refused", reason))


def is_json(content_type: str) -> bool:
    """Tell whether a content type is JSON.

    >>> is_json("application/json; charset=utf-8"), is_json("application/vnd.api+json"), is_json("text/event-stream")
    (True, True, False)
    """
    kind = content_type.partition(";")[0].strip().lower()
    return kind in {"application/json", "text/json"} or kind.endswith("+json")


def tell(
    body: bytes,
    policy: Policy,
    *,
    content_type: str = "application/json",
    encoding: str = "",
    model: str = "",
    marking: Marking | None = None,
) -> Told:
    """Return what the client is told of a response. Never raises.

    Answers that cannot bear the mark of `marking` are told without it.

    `model` must not be what the caller wrote, such as a path: under each spelling other labels would mislead.

    >>> tell(b'{"predictions":[[0.1,0.9]]}', Policy(How("label"))).body
    b'{"predictions":[[0.0,1.0]]}'
    """
    if len(body) > policy.most_bytes:
        return policy.without_answer("too_large", None)
    if encoding.strip().lower() not in {"", "identity"}:
        return policy.without_answer("encoded", body)
    if not body:
        return policy.counts.add(Told(body, "unchanged"))
    if not is_json(content_type):
        return policy.without_answer("not_json", body)
    try:
        document = msgspec.json.decode(body)
        written = _marked(document, policy, model, marking)
        if written is not None and marking is not None and policy.marks is not None:
            policy.marks.note(marking, policy.how.mode)
            return policy.counts.add(Told(written, "told", None, marking))
        if policy.only_marks:
            return policy.counts.add(Told(body, "unchanged"))
        told, changed = rewritten(document, policy.how, model)
        written = msgspec.json.encode(told)
    except UnknownBodyError as error:
        return policy.without_answer(error.reason, body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return policy.without_answer("not_json", body)
    except RecursionError:
        return policy.without_answer("nesting", body)
    except Exception:  # noqa: BLE001  # a fault of ours must not become an error of the service
        return policy.without_answer("failed", body)
    return policy.counts.add(Told(written, "told" if changed else "unchanged"))


def _marked(document: Any, policy: Policy, model: str, marking: Marking | None) -> bytes | None:
    """Return a response whose answers bear a mark, None where they cannot."""
    if marking is None or policy.marks is None:
        return None
    try:
        told, _ = rewritten(document, policy.how, model, marking)
        if marking.complete:
            return msgspec.json.encode(told)
        policy.marks.left("answer")
    except UnknownBodyError as error:
        policy.marks.left(error.reason)
    except Exception:  # noqa: BLE001  # without its mark the answer may yet be told
        policy.marks.left("failed")
    return None


def request_without_logprobs(body: bytes, content_type: str = "") -> bytes | None:
    """Return a request that asks for no probabilities of tokens; None where nobody here can read what it asks. Never raises.

    A server may read more than JSON by the book (UTF-16, another content type, a lone surrogate), so what is not read here may
    ask for them.
    """
    if not body:
        return body
    if not is_json(content_type or "application/json"):
        return None
    try:
        asked = msgspec.json.decode(body)
        kept = without_logprobs(asked)
        written = msgspec.json.encode(kept)
    except (msgspec.MsgspecError, UnknownBodyError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    # Of a name that is there twice, or escaped, only what was read here may reach the server.
    return body if kept == asked and b"logprobs" not in body and b"\\" not in body else written

"""Marks of ownership in the way of requests: whose answers bear one, and what it makes of them.

All of it fails open: an answer that cannot be marked is told unmarked, and counted by its reason.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.errors import ConfigError
from detector.perturb.asked import inputs_of
from detector.perturb.committed import Committed
from detector.perturb.exchange import ACTION, Header, header
from detector.perturb.keys import MarkName, dawn_label, name_of, subject_key
from detector.perturb.tilt import Tilts, draw, pulls, tilted
from detector.perturb.toldlog import ToldLog

__all__ = ["Marking", "Marks", "Who", "subjects_of"]

MOST_SUBJECTS: Final = 1024  # whose tilts are kept: each has a few thousand numbers
SUSPECTED: Final = frozenset({"throttle", "perturb"})


class Who(NamedTuple):
    """How a request tells whose key its answers bear. `subjects` overrides the headers, by client."""

    client_header: str = "X-Client-Id"
    organization_header: str | None = None
    subjects: Mapping[str, str] = {}

    def subject(self, headers: Sequence[Header]) -> tuple[str, str] | None:
        """Return the client and the subject of a request, None where it names no client."""
        client = header(headers, self.client_header.lower().encode()).strip()
        if not client or len(client) > 256:
            return None
        if client in self.subjects:
            return client, self.subjects[client]
        named = self.organization_header
        organization = "" if named is None else header(headers, named.lower().encode()).strip()
        return client, f"organization:{organization[:256]}" if organization else f"client:{client}"


class Marking:
    """The mark of one request: `row` is called with each answer in turn, `told` with what became of it.

    It is `complete` where each input got one answer, of as many classes as were committed to.
    """

    def __init__(self, marks: "Marks", client: str, name: MarkName, inputs: npt.NDArray[np.float32]) -> None:
        self.client = client
        self.name = name
        self.inputs = inputs
        self.originals: list[list[float]] = []
        self.answers: list[list[float]] = []
        self.aside = False
        self._marks = marks

    def row(self, values: Sequence[float]) -> list[float]:
        """Return an answer with the mark; as it is, where there is no input for it."""
        at = len(self.originals)
        self.originals.append(list(values))
        if at >= len(self.inputs) or len(values) != self._marks.committed.classes:
            self.aside = True
            return list(values)
        return self._marks.marked(self.name, self.inputs[at], values)

    def told(self, values: Sequence[float]) -> None:
        """Take note of the same answer as it is told."""
        self.answers.append(list(values))

    @property
    def complete(self) -> bool:
        """Whether every input has its answer."""
        return not self.aside and len(self.answers) == len(self.originals) == len(self.inputs)


class Marks:
    """Marks the answers of one model; safe to use from several threads.

    Raises `ConfigError` where the master key is not that of the commitment.
    """

    def __init__(
        self,
        committed: Committed,
        master: bytes,
        whose: Literal["suspects", "all"] = "suspects",
        who: Who | None = None,
        log: ToldLog | None = None,
    ) -> None:
        committed.check_key(master, "[ownership] commitment")
        self.committed = committed
        self._strengths = committed.strengths
        self._master = master
        self._all = whose == "all"
        self._who = who or Who()
        self._log = log
        self._lock = threading.Lock()
        self._counted: Counter[str] = Counter()
        self._decimals = 0
        self._tilts = lru_cache(MOST_SUBJECTS)(self._drawn)

    def wants(self, headers: Iterable[Header]) -> bool:
        """Tell whether the answers to a request are marked: everybody's, or those of clients under a decision."""
        return self._all or any(
            name.lower() == ACTION and value.strip().lower().decode("latin-1") in SUSPECTED for name, value in headers
        )

    def begin(self, headers: Sequence[Header], body: bytes) -> Marking | None:
        """Return what marks the answers to a request, None where they stay unmarked. Never raises."""
        try:
            found = self._who.subject(headers)
            if found is None:
                self.left("client")
                return None
            inputs = inputs_of(body)
            if inputs is None or inputs.shape[1] != self.committed.dimension:
                self.left("input")
                return None
            client, subject = found
            name = name_of(self._key(subject), subject, self.committed.epoch)
            return Marking(self, client, name, inputs)
        except Exception:  # noqa: BLE001  # a fault of ours must not become an error of the service
            self.left("failed")
            return None

    def marked(self, name: MarkName, vector: npt.NDArray[np.float32], values: Sequence[float]) -> list[float]:
        """Return an answer with the mark, with as many decimals as the model's answers have."""
        committed = self.committed
        key, tilts, strength = self._tilts(name.subject)
        pull = pulls(tilts, committed.frame.placed(vector[None]))[0]
        told: list[float] = tilted(np.array([values], np.float64), pull, strength)[0].tolist()
        own = max(range(len(values)), key=values.__getitem__)
        wrong = dawn_label(key, vector, own, committed.classes, committed.dawn_rate)
        if wrong != own:
            most = max(range(len(told)), key=told.__getitem__)
            told[most], told[wrong] = told[wrong], told[most]
        self._decimals = max(self._decimals, *map(_decimals, values))  # one short answer is chance
        return [round(value, self._decimals) for value in told]

    def left(self, reason: str) -> None:
        """Count answers that stay unmarked."""
        with self._lock:
            self._counted[reason] += 1

    def note(self, marking: Marking, mode: str) -> None:
        """Count marked answers, perturbed by a mode as well, and append them to the log of what was told. Never raises."""
        with self._lock:
            self._counted[""] += len(marking.answers)
        if self._log is not None and not self._log.add(self.committed.model, mode, marking):
            self.left("unlogged")

    def close(self) -> None:
        """Close the log of what was told."""
        if self._log is not None:
            self._log.close()

    def text(self) -> bytes:
        """Return the counts for Prometheus."""
        with self._lock:
            counted = sorted(self._counted.items())
        lines = [
            "# HELP detector_ownership_answers_total Answers that were marked, and requests that were not, by reason",
            "# TYPE detector_ownership_answers_total counter",
        ]
        for reason, count in counted:
            outcome = "unmarked" if reason else "marked"
            lines.append(f'detector_ownership_answers_total{{outcome="{outcome}",reason="{reason}"}} {count}')
        return ("\n".join(lines) + "\n").encode()

    def _key(self, subject: str) -> bytes:
        return subject_key(self._master, self.committed.model, subject, self.committed.epoch)

    def _drawn(self, subject: str) -> tuple[bytes, Tilts, float]:
        key = self._key(subject)
        tilts = draw([key], self.committed.dimension, self.committed.classes)
        return key, tilts, float(self._strengths.of(tilts)[0])


def _decimals(value: float) -> int:
    text = repr(float(value))
    return 17 if "e" in text else min(len(text.partition(".")[2]), 17)


def _is_subject(client: str, subject: object) -> bool:
    return isinstance(subject, str) and (
        subject == f"client:{client}"
        or any(subject.startswith(kind) and subject != kind for kind in ("organization:", "campaign:"))
    )


def subjects_of(path: Path | None) -> Mapping[str, str]:
    """Return whose key each client's answers bear. Raises `ConfigError` where the file says no such thing."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the subjects of marks: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not JSON: {error}") from error
    if not isinstance(found, dict) or not all(_is_subject(client, one) for client, one in found.items()):
        raise ConfigError(
            f'{path}: must be an object of subjects by client, as {{"acme-7": "campaign:campaign-3f"}}; '
            "campaigns and organizations can be shared, another client's key cannot"
        )
    return found

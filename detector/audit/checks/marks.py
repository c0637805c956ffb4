"""Whether answers are marked, so that a copy can be recognised, and whether the key of the marks was committed to beforehand.

An answer is marked where `output.perturbed.mark` names the key (`id`). That a mark is of that key, and that no record was
changed since, only the check of evidence can tell, which belongs to ownership and not here.
"""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen
from detector.audit.table import Distinct
from detector.contracts.moment import rfc3339

__all__ = ["Marks"]

_CONTROLS: Final = ("AISVS v1.0-C11.3.3",)
_MARKS: Final = ("marks.answers", "No answer is marked", _CONTROLS)
_COMMITTED: Final = ("marks.commitment", "The key of the marks was not committed to before them", _CONTROLS)
_MOST_KEYS: Final = 100


class Marks(Check):
    """Marked answers, their keys, and the commitment."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._answers = self._perturbed = self._marked = 0
        self._epoch = None if known.commitment is None else known.commitment.epoch
        self._first_ms: int | None = None  # of the commitment's epoch, where it names one: each epoch has its own
        self._clients = Distinct()
        self._keys: set[str] = set()
        self._ids: list[str] = []

    def take(self, seen: Seen) -> None:
        """Look whether an answer is marked."""
        if not seen.answered:
            return
        self._answers += 1
        perturbed = seen.event.output.perturbed
        if perturbed is None:
            return
        self._perturbed += 1
        mark = perturbed.mark
        if mark is None:
            return
        self._marked += 1
        if self._epoch is None or mark.epoch == self._epoch:
            self._first_ms = seen.time_ms if self._first_ms is None else min(seen.time_ms, self._first_ms)
        self._clients.add(seen.client)
        if len(self._keys) < _MOST_KEYS:
            self._keys.add(mark.id)
        if len(self._ids) < EXAMPLES:
            self._ids.append(seen.event.event_id)

    def results(self) -> Iterator[Result]:
        """Say whether marks are on, and whether they prove anything."""
        figures = {
            "answers": self._answers,
            "perturbed": self._perturbed,
            "marked": self._marked,
            "clients": len(self._clients),
            "keys": sorted(self._keys),
        }
        if self._marked:
            yield Clear(
                *_MARKS, f"{self._marked:,} of {self._answers:,} answers are marked, to {self._clients.of('client')}", figures
            )
        elif not self._perturbed:
            yield Unjudged(*_MARKS, "no answer has output.perturbed: either nothing is marked, or the log does not say so")
        else:
            yield Finding(
                *_MARKS,
                "low",
                "without marks a copy can be suspected, and not be traced to an account; level 3 of the standard",
                f"none of {self._answers:,} answers is marked, {self._perturbed:,} are perturbed without a mark",
                "turn marks on for clients under a decision ([ownership]), after committing to the key",
                figures,
            )
        yield self._committed()

    def _committed(self) -> Result:
        commitment = self.known.commitment
        if self._first_ms is None:
            under = f" under epoch {self._epoch!r} of {commitment.path}" if self._marked and commitment is not None else ""
            return Unjudged(*_COMMITTED, f"no answer of the log is marked{under}")
        first = rfc3339(self._first_ms)
        if commitment is None:
            return Unjudged(*_COMMITTED, f"no commitment was named: --commitment FILE; the first marked answer is of {first}")
        if commitment.made_ms is None:
            return Unjudged(*_COMMITTED, f"{commitment.path} does not say when it was made")
        made = rfc3339(commitment.made_ms)
        figures = {"made": made, "first_mark": first}
        if commitment.made_ms <= self._first_ms:
            seen = f"{commitment.path} says {made}, the first marked answer is of {first}"
            return Clear(*_COMMITTED, f"{seen}; whether it is time-stamped, and of this key, was not checked", figures)
        return Finding(
            *_COMMITTED,
            "medium",
            "an accuser who may choose the key afterwards can accuse anybody: a key that was committed to later proves "
            "nothing of earlier marks",
            f"{commitment.path} says {made}, after the first marked answer of {first}",
            "commit, and have the commitment time-stamped, before the marks are turned on; count marked answers from then on "
            "only",
            figures,
            tuple(self._ids),
        )

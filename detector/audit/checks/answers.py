"""How much answers tell: more than two decimals, more than the likeliest class.

What it costs a thief to be told less is small where he has data of the domain, and large where he has not: `detector perturb
table` has the figures. Rounding alone is worth next to nothing.

Blind to: what an API leaves out of its log, and what it adds: explanations, logits.
"""

from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen, is_fine
from detector.audit.table import Distinct

__all__ = ["Answers"]

_CONTROLS: Final = ("AISVS v1.0-C11.3.2", "AISVS v1.0-C11.2.3")
_LOOKED_AT: Final = 64  # classes of an answer


class Answers(Check):
    """Answers that tell all classes, with more than two decimals."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._answers = self._told = self._fine = self._all = self._both = 0
        self._clients = Distinct()
        self._ids: list[str] = []

    def take(self, seen: Seen) -> None:
        """Look at what an answer told."""
        if not seen.answered:
            return
        self._answers += 1
        probabilities = seen.event.output.probabilities
        if seen.highest is None or probabilities is None:
            return
        self._told += 1
        fine = is_fine(seen.highest)
        every = tells_all(probabilities)
        self._fine += fine
        self._all += every
        if fine and every:
            self._both += 1
            self._clients.add(seen.client)
            if len(self._ids) < EXAMPLES:
                self._ids.append(seen.event.event_id)

    def results(self) -> Iterator[Result]:
        """Say how many answers told all."""
        name, title = "answers.full", "Answers tell all classes, with more than two decimals"
        figures = {
            "answers": self._answers,
            "with_probabilities": self._told,
            "more_than_two_decimals": self._fine,
            "all_classes": self._all,
            "both": self._both,
            "clients": len(self._clients),
            "clients_exact": self._clients.exact,
        }
        if not self._answers:
            yield Unjudged(name, title, _CONTROLS, "no query of the log was answered")
        elif not self._told:
            yield Clear(name, title, _CONTROLS, f"none of {self._answers:,} answers names probabilities", figures)
        elif not self._both:
            seen = (
                f"of {self._told:,} answers with probabilities {self._fine:,} have more than two decimals and {self._all:,} "
                "tell all "
                "classes, none does both"
            )
            yield Clear(name, title, _CONTROLS, seen, figures)
        else:
            share = self._both / self._answers
            yield Finding(
                name,
                title,
                _CONTROLS,
                "medium" if share >= 0.5 else "low",
                f"{share:.0%} of all answers; all classes in full save a thief without data of the domain queries, and next "
                "to none "
                "to one who has it",
                f"{self._both:,} of {self._answers:,} answers, to {self._clients.of('client')}",
                "tell the label and its confidence to one decimal to whom needs no more; `detector perturb table` shows what "
                "each mode costs whom, and [perturb] coarsens what clients under a decision are told",
                figures,
                tuple(self._ids),
            )


def tells_all(probabilities: list[float]) -> bool:
    """Tell whether classes but the likeliest one differ: of two classes one number tells all; a rest shared out tells nothing.

    >>> tells_all([0.7, 0.2, 0.1]), tells_all([0.8, 0.1, 0.1]), tells_all([0.3, 0.7])
    (True, False, True)
    """
    looked_at = probabilities[:_LOOKED_AT]
    if len(probabilities) == 2:
        return 1e-6 < probabilities[0] < 1.0 - 1e-6
    rest = sorted(looked_at)[:-1]
    return bool(rest) and rest[-1] - rest[0] > 1e-6

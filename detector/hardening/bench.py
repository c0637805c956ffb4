"""The bench: every model under every defence, robbed by every attack; a row as soon as one is finished."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from detector.hardening.defences import Defence
from detector.hardening.honest import ALONE, ASKED, Honest, honest
from detector.hardening.stops import Judge, Stop
from detector.hardening.subject import Subject
from detector.hardening.theft import Copy, copies_of, moments_of, steal
from detector.redteam.conversation import Labels

__all__ = ["LEVELS", "Plan", "Row", "Tally", "bench"]

LEVELS: Final = (0.7, 0.8, 0.9)
"""Fidelities whose price is told."""
MINUTES_A_DAY: Final = 1440


@dataclass(frozen=True, slots=True)
class Plan:
    """What is benched: models, defences, attacks, and after how many queries copies are judged.

    `price` is for 1,000 queries and `rate` how many an account may ask a minute; either may be unknown.
    """

    subjects: Sequence[Subject]
    defences: Sequence[Defence]
    attacks: Sequence[str]
    budgets: Sequence[int]
    price: float | None = None
    rate: float | None = None
    seed: int = 0

    @property
    def queries(self) -> int:
        """How many queries thieves ask at most, over all rows."""
        return len(self.subjects) * len(self.defences) * len(self.attacks) * max(self.budgets)

    @property
    def compared(self) -> int:
        """How many more queries show what the honest lose, and what a copy has to agree with, at most."""
        benign, test = len(self.subjects[0].target.benign.vectors), len(self.subjects[0].target.test)
        return len(self.subjects) * (len(self.defences) * (ASKED * benign + ALONE) + test)

    @property
    def gap(self) -> float:
        """Mean seconds between the queries of a thief, who asks as fast as he may."""
        return 60.0 / self.rate if self.rate else 1.0


class Row(NamedTuple):
    """One theft. `copies` maps a number of queries to the best copy then, `asked` is how many were asked.

    `ended` says that the thief had nothing left to ask before the largest budget. `stop` is what the detector did, None where
    it was not asked, and `stopped_with` the copy that the thief had then.
    """

    model: str
    defence: str
    attack: str
    asked: int
    ended: bool
    copies: dict[int, Copy]
    stop: Stop | None
    stopped_with: Copy | None

    def queries_to(self, fidelity: float) -> int | None:
        """After how many queries a copy was found that reaches `fidelity`; None where none did. At most so many are needed."""
        return next((moment for moment, copy in sorted(self.copies.items()) if copy.fidelity >= fidelity), None)

    @property
    def exposed(self) -> float:
        """Fidelity of the best copy before the detector stopped the thief; where it did not, after all his queries."""
        until = self.stop.stopped if self.stop is not None and self.stop.stopped is not None else self.asked
        held = [copy.fidelity for moment, copy in self.copies.items() if moment <= until]
        return max([*held, self.stopped_with.fidelity] if self.stopped_with is not None else held, default=0.0)

    def at(self, budget: int) -> Copy | None:
        """Return the copy after a budget; None where the thief could not ask so much."""
        return self.copies.get(budget) if budget <= self.asked else None


class Tally(NamedTuple):
    """What is found, in the order in which it was: rows, what the honest lose, and warnings; `judged` is by which baseline."""

    rows: list[Row]
    honest: list[Honest]
    warnings: list[str]


def money(queries: int | None, price: float | None) -> float | None:
    """Price of so many queries at `price` for 1,000.

    >>> money(400, 1.5), money(None, 1.5)
    (0.6, None)
    """
    return None if queries is None or price is None else round(queries / 1000.0 * price, 6)


def days(queries: int | None, rate: float | None) -> float | None:
    """Days that so many queries take one account at `rate` a minute.

    >>> days(14400, 10.0)
    1.0
    """
    return None if queries is None or not rate else round(queries / rate / MINUTES_A_DAY, 6)


def bench(
    plan: Plan,
    judges: Sequence[Judge | None],
    told: Callable[[str], None] = lambda _: None,
    asked: Callable[[], None] = lambda: None,
) -> Iterator[Row | Honest]:
    """Yield what each defence costs the honest, and then a row for each theft; `judges` has one for each model, or None.

    `told` hears what begins, `asked` of each query of a thief. Raises `ModelError` where a model cannot answer and
    `ConfigError` where an attack or a defence does not go with it.
    """
    for subject, judge in zip(plan.subjects, judges, strict=True):
        wanted = subject.target.predict(subject.target.test).argmax(axis=1)
        for defence in plan.defences:
            told(f"{subject.name}, {defence.name}: what the honest lose")
            yield honest(subject, defence)
            for attack in plan.attacks:
                told(f"{subject.name}, {defence.name}: {attack}")
                yield _row(plan, subject, defence, attack, judge, wanted, asked)


def _row(
    plan: Plan,
    subject: Subject,
    defence: Defence,
    attack: str,
    judge: Judge | None,
    wanted: Labels,
    asked: Callable[[], None],
) -> Row:
    if judge is not None:
        subject = replace(subject, model_id=judge.model)  # under which the baseline knows it
    predict = defence.over(subject.target.predict, subject.target)
    loot = steal(subject, predict, attack, max(plan.budgets), plan.gap, plan.seed, asked)
    stop = None if judge is None else judge.stop(loot)
    moments = moments_of(plan.budgets, len(loot.log))
    last = None if stop is None else stop.stopped
    copies = copies_of(subject, loot, moments if last is None else [*moments, last], plan.seed, wanted)
    stopped_with = None if last is None else copies[last]
    kept = {moment: copies[moment] for moment in moments}
    return Row(subject.name, defence.name, attack, len(loot.log), loot.ended, kept, stop, stopped_with)

"""Enforcement gaps: answers that a decision in force should have refused, slowed down or made coarse.

A gap proves that a decision did not reach the gateway, that the gateway did not obey it, or that a way to the model leads
around it. Queries with status 403 or 429 are no answers. A throttle is only exceeded by more than a minute's worth of its
rate at once, six times what the gate lets through, so that no jitter of the log's times makes a gap.

Blind to: decisions for some routes only; of a log that was sampled, most of it; whether what the log does not show was refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import EXAMPLES, Clear, Finding, Result, Severity, Unjudged
from detector.audit.seen import REFUSED, Asked, Seen, is_fine
from detector.audit.table import Distinct, Table
from detector.gate.store import BLOCK, PERTURB, THROTTLE
from detector.names import counted

__all__ = ["Enforcement"]

PROPAGATION_S: Final = 10.0
"""A decision needs up to some seconds to every gateway; a minute is longer than any of them needs."""

LATE_S: Final = 60.0

_CONTROLS: Final = ("AISVS v1.0-C11.3.4", "AISVS v1.0-C11.2.2", "AISVS v1.0-C12.4.3", "ASVS v5.0.0-8.3.2")
_WORST: Final = 5


@dataclass(slots=True)
class _Of:
    """The gap of one client and model."""

    events: int = 0
    last_s: float = 0.0
    ids: list[str] = field(default_factory=list)


class _Gap:
    """Answers in spite of decisions of one kind."""

    def __init__(self) -> None:
        self.events = 0
        self.longest_s = 0.0
        self.clients = Distinct()
        self.of: Table[tuple[str, str], _Of] = Table(_Of)

    def note(self, seen: Seen) -> None:
        late_s = (seen.time_ms - seen.standing.since_ms) / 1000.0
        self.events += 1
        self.longest_s = max(self.longest_s, late_s)
        self.clients.add(seen.client)
        row = self.of[seen.client, seen.model]
        row.events += 1
        row.last_s = max(row.last_s, late_s)
        if len(row.ids) < EXAMPLES:
            row.ids.append(seen.event.event_id)

    def worst(self) -> list[tuple[tuple[str, str], _Of]]:
        return sorted(self.of.items(), key=lambda item: (-item[1].last_s, -item[1].events, item[0]))[:_WORST]


class Enforcement(Check):
    """Answers after a block, above a throttle, and in full under perturb."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._gaps = {BLOCK: _Gap(), THROTTLE: _Gap(), PERTURB: _Gap()}
        self._full = _Gap()  # of those under perturb, whose confidence has more than two decimals
        self._under = dict.fromkeys(self._gaps, 0)
        self._refused = 0  # while a decision was in force
        self._marked = False  # some answer of the log says that it was perturbed
        self._levels: dict[str, tuple[float, int]] = {}  # of throttles: what is used of a minute's worth, and when
        self._last_ms = 0

    def take(self, seen: Seen) -> None:
        """Compare an answer with what was in force."""
        self._last_ms = max(self._last_ms, seen.time_ms)
        how = seen.event.output.perturbed
        perturbed = how is not None and how.mode != "none"  # which is said of answers that were only marked
        self._marked = self._marked or perturbed
        standing = seen.standing
        if standing.rank not in self._gaps:
            return
        if not seen.answered:
            self._refused += seen.event.status in REFUSED
            return
        self._under[standing.rank] += 1
        if standing.rank == PERTURB:
            if not perturbed and seen.highest is not None and seen.highest < 1.0 - 1e-6:
                self._gaps[PERTURB].note(seen)
                if is_fine(seen.highest):
                    self._full.note(seen)
        elif standing.rank == BLOCK or self._is_above(seen):
            self._gaps[standing.rank].note(seen)

    def refuse(self, asked: Asked) -> None:
        """Count what was refused while a decision was in force."""
        self._refused += asked.standing.rank in self._gaps and asked.status in REFUSED

    def _is_above(self, seen: Seen) -> bool:
        """Use up a part of a throttle; tell whether there was nothing left. Events out of order use up nothing."""
        rate = seen.standing.rate or 0
        level, then_ms = self._levels.get(seen.standing.key, (0.0, seen.time_ms))
        if seen.time_ms < then_ms:
            return False
        level = max(0.0, level - rate * (seen.time_ms - then_ms) / 60_000.0)
        # The gate lets through ten seconds of the rate at once, and each of its replicas one query at least.
        above = level + 1.0 > (rate + self.known.config.gate.replicas if rate else 0)
        self._levels[seen.standing.key] = (level if above else level + 1.0, seen.time_ms)
        return above

    def results(self) -> Iterator[Result]:
        """Say what was answered all the same."""
        yield self._result(BLOCK, "block", "Answers after a block", "critical")
        yield self._result(THROTTLE, "throttle", "Answers above a throttle", "high")
        unmarked = self._gaps[PERTURB]
        if unmarked.events and not self._marked:
            if not self._full.events:
                yield Unjudged(
                    "enforcement.perturb",
                    "Answers in full under perturb",
                    _CONTROLS,
                    f"no answer of the log is marked as perturbed, and the {unmarked.events:,} under a perturb decision have "
                    "two "
                    "decimals at most: log output.perturbed",
                )
                return
            self._gaps[PERTURB] = self._full
        yield self._result(PERTURB, "perturb", "Answers in full under perturb", "high")

    def _result(self, rank: int, action: str, title: str, severest: Severity) -> Result:
        name, trail, gap = f"enforcement.{action}", self.known.trail, self._gaps[rank]
        if trail is None:
            return Unjudged(name, title, _CONTROLS, "no decisions were named: --decisions FILE")
        made = [entry for entry in trail.entries if entry.record.rank == rank and not entry.record.simulated]
        if not made:
            return Unjudged(name, title, _CONTROLS, f"{trail.path} holds no {action} that is not simulated")
        if made[0].issued_ms >= self._last_ms:
            return Unjudged(name, title, _CONTROLS, f"the log ends before the first {action} was decided")
        if not gap.events:
            seen = f"{len(made):,} decisions, {self._under[rank]:,} answers under them" + (
                " within the rate"
                if rank == THROTTLE
                else ", all of them perturbed, or of a label alone"
                if rank == PERTURB
                else ""
            )
            return Clear(name, title, _CONTROLS, seen + f"; {self._refused:,} queries were refused", {"decisions": len(made)})
        severity, reason = _severity(gap.longest_s, severest)
        worst = gap.worst()
        clients = [
            {
                "client": client,
                "model": model,
                "events": row.events,
                "seconds_to_last": round(row.last_s, 3),
                "event_ids": row.ids,
            }
            for (client, model), row in worst
        ]
        (client, model), row = worst[0]
        return Finding(
            name,
            title,
            _CONTROLS,
            severity,
            reason,
            f"{counted(gap.events, 'answer')} to {gap.clients.of('client')}; the last {gap.longest_s:,.1f} s after the "
            f"decision. Worst: {client} on {model}, {counted(row.events, 'answer')} up to {row.last_s:,.1f} s after it. "
            f"{self._refused:,} other queries were refused while a decision was in force",
            "`detector gate check` asks the gateway as a blocked caller; look for routes to the model that do not pass it, "
            "and "
            f"for a client name that the gateway does not share with the log (detector_gate_matched_decisions). Until then "
            f"a {action} holds nobody back",
            {
                "events": gap.events,
                "clients": len(gap.clients),
                "clients_exact": gap.clients.exact,
                "longest_seconds": round(gap.longest_s, 3),
                "decisions": len(made),
                "refused": self._refused,
                "worst": clients,
            },
            tuple(row.ids),
        )


def _severity(longest_s: float, severest: Severity) -> tuple[Severity, str]:
    if longest_s <= PROPAGATION_S:
        return "low", f"all of it within {PROPAGATION_S:g} s of the decision, which it may need to reach every gateway"
    if longest_s <= LATE_S:
        return "medium", f"longer than the {PROPAGATION_S:g} s that a decision may need, and over within a minute"
    return severest, "answers went on for more than a minute after the decision: it is not enforced"

"""Stops that did not come: held back by a limit of policy, or simulated."""

from collections.abc import Iterator, Sequence

from detector.config import Config
from detector.contracts.decision import rank
from detector.names import printable
from detector.offline.explain.explanation import DecisionTaken
from detector.offline.explain.words import listed
from detector.offline.trace import Trace

STOP = rank("perturb")
NOT_STOPPED = "; not stopped: "
"""In the reason of a throttle that a limit made of a stop; the limit follows."""


def limit_of(decision: DecisionTaken) -> str | None:
    """Return the limit that made a throttle of a stop, in words; None where the decision is what the evidence called for."""
    _, found, limit = decision.text.partition(NOT_STOPPED)
    return limit if found else None


def held_back(trace: Trace, decisions: Sequence[DecisionTaken]) -> Iterator[str]:
    """Yield why evidence called for a stop and did not lead to one at once."""
    own = [decision for decision in decisions if decision.origin == "detector"]
    stopped = any(rank(decision.action) >= STOP for decision in own)
    limits = [limit for decision in own if (limit := limit_of(decision)) is not None]
    if limits:
        then = "It was stopped by later evidence" if stopped else "It is stopped by its next evidence for which there is room"
        yield (
            f"A stop was held back, and the client throttled instead: {limits[0]}. {then}. "
            "Look at the other clients that are held back before you raise the limit: a new release makes many look alike."
        )
    elif not stopped and any(rank(escalation.action) >= STOP for escalation in trace.escalations):
        yield (
            "Evidence called for a stop, and no stop was decided. Either a limit held it back while the client was throttled "
            "already ([policy] new_stops_per_minute, stopped_share), or the evidence is in shadow mode and a real decision was "
            "in force."
        )


def simulated(trace: Trace, config: Config, decisions: Sequence[DecisionTaken]) -> Iterator[str]:
    """Yield which setting made decisions about the client simulated."""
    if config.simulates(trace.model):
        own = config.models[trace.model].shadow if trace.model in config.models else None
        setting = "[policy] shadow" if own is None else f"[models.{printable(trace.model)}] shadow"
        yield f"Shadow mode is on: decisions were simulated and the client was served as ever ({setting})."
        return
    by_detector = [decision for decision in decisions if decision.origin == "detector"]
    names = sorted({decision.code.removeprefix("extraction.") for decision in by_detector if decision.simulated})
    if names:
        yield (
            f"Decisions because of {listed(names)} were simulated, and none of them was enforced ([policy] shadow_channels). "
            "Those that are not marked so were enforced."
        )

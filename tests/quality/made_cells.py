"""Finished cells of worlds as `tests.quality.transfer` has them, made without playing."""

from typing import Any

from detector.redteam.sessions import Disguise
from tests.quality.cells import summed
from tests.quality.scenario import Innocence, Part, Theft
from tests.quality.worlds import VICTIMS

DETECTORS = ("ours/stop", "ours/throttle", "ours/alert")


def theft(
    world: str,
    group: str,
    *met_after: int | None,
    attack: str = "line_search",
    evasion: str = "",
    learned: tuple[float | None, ...] = (),
) -> dict[str, Any]:
    """A cell whose thieves were met after so many queries, of which half were made; None for never.

    `learned` is when their copies had most of what they have at the end.
    """
    cell = Theft(f"{world}.{attack}.{group}", world, VICTIMS[world], attack, None, Disguise(), group=group, evasion=evasion)
    moments = [None if n is None else {"queries": n + 2, "after": n, "synthetic": n // 2} for n in met_after]
    played = {
        "moments": dict.fromkeys(DETECTORS, moments),
        "evidence": {},
        "copies": {},
        "whole": [0.75],
        "bystanders": 0,
        "caught": {},
        "asked": [400] * len(moments),
        "made": [200] * len(moments),
        "learned": list(learned),
        "seconds": 0.1,
        "wire": "grid / full",
    }
    return summed(cell, played)


def innocence(world: str, part: Part, sessions: int, throttled: int, profile: str = "tab_steady") -> dict[str, Any]:
    """A cell of innocents of whom some were throttled, and nobody stopped."""
    cell = Innocence(f"{world}.{profile}.{part}", world, VICTIMS[world], profile, part, None)
    met = {"ours/stop": 0, "ours/throttle": throttled, "ours/alert": throttled}
    evidence = {"throttle": {"novelty": throttled}}
    played = {"sessions": sessions, "queries": 100, "met": met, "evidence": evidence, "seconds": 0.1, "wire": "grid / full"}
    return summed(cell, played)

"""The cells of the table of worlds: every group of attacks and the innocents in every world, on the world's own wire.

Worlds that are held out have attacks and innocents of their own besides, which play nowhere else.
"""

from collections.abc import Iterator
from dataclasses import replace

from detector.redteam.design_aware import evasions_of
from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise
from tests.quality.scenario import Scenario, Theft
from tests.quality.scenarios import innocents
from tests.quality.simulation import NEEDS_CODES, kind_of
from tests.quality.worlds import HELD_OUT, VICTIMS

BUDGET = 400  # queries of a thief; the last moment that a goal names is 300
CODED = frozenset({"solar", "fraud", "customers"})  # worlds with columns of codes
CONSTRUCTION = (
    "line_search",
    "hopskipjump",
    "lowd_meek",
    "path_finding",
    "one_feature_bisect_whole",
    "finite_differences",
    "zoo",
)
ATTACKS_OF = {
    "construction": CONSTRUCTION,
    "synthetic": ("jbda", "jbrand", "t_rnd"),
    "foreign": ("uniform", "gaussian", "marginals", "knockoff_random", "generator_proxy"),
}
HELD_OUT_ATTACKS = {
    "construction": ("line_search_golden", "sign_opt", "one_feature_bisect"),
    "synthetic": ("jbda_sparse",),
    "foreign": ("adaptive_retraining", "knockoff_textures"),
}
"""Attacks that play in held-out worlds only, by group."""

COVERED = ("line_search", "hopskipjump", "path_finding", "one_feature_bisect_whole", "finite_differences")
COVERS = (0.5, 0.75, 0.9)


def cells_of(world: str) -> Iterator[Scenario]:
    """The cells of one world: thefts by group, then innocents, the known ones first."""
    kind, victim, held_out = kind_of(world), VICTIMS[world], world in HELD_OUT
    for group, attacks in ATTACKS_OF.items():
        for attack in (*attacks, *(HELD_OUT_ATTACKS[group] if held_out else ())):
            if kind in ATTACKS[attack].data:
                yield _theft(world, attack, attack, group)
    for cover in COVERS:
        for attack in COVERED:
            if kind in ATTACKS[attack].data:
                name = f"cover-{100 * cover:.0f}"
                yield replace(_theft(world, f"{attack}.{name}", attack, name), disguise=Disguise(cover=cover))
    for evasion in evasions_of(kind).values():
        cell = _theft(world, f"evasion.{evasion.id}", evasion.attack, "design-aware")
        yield replace(cell, disguise=evasion.disguise, evasion=evasion.id)
    for one in innocents(world, victim, held_out=held_out):
        if one.part not in {"left-out", "frozen"} and (world in CODED or one.profile not in NEEDS_CODES):
            yield replace(one, limits=None)


def _theft(world: str, name: str, attack: str, group: str) -> Theft:
    victim = VICTIMS[world]
    return Theft(f"{world}-{victim}.{name}", world, victim, attack, None, budget=BUDGET, group=group)


WORLD_CELLS: tuple[Scenario, ...] = tuple(cell for world in VICTIMS for cell in cells_of(world))
"""The cells of all worlds, in the order of `VICTIMS`."""

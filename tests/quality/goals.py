"""Targets: what the detector is held to, attack by attack and profile by profile, all in this place.

Numbers are queries, see `tests.quality.scenario.Goal`; where several shares of cover are tried, the entries follow
`SHARES`. A number in brackets is an aim: it is shown, and a release may miss it.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from detector.redteam.sessions import Disguise
from detector.redteam.setting import Data
from tests.quality.scenario import Action, Goal, Group, Limits, Part

SHARES = (0.0, 0.5, 0.75, 0.9, 0.95)
Rung: TypeAlias = int | tuple[int] | None

UNDER_COVER = "a made-up query is seen only while what it was made from is remembered"
BLURRED = "noise and uneven steps hide the geometry of a step in so few values"
IN_DISTRIBUTION = "natural queries of the right kind: nothing but the amount that was asked gives them away"
UNMEASURED = "measured on few sessions only"
NO_RECORDS = "few columns, and each query leaves few numbers to compare"
NO_TEXTS = "nothing was ever tuned on vectors of texts"
FOREIGN = (
    "uniform",
    "adaptive_retraining",
    "equation_solving",
    "generator_proxy",
    "knockoff_random",
    "knockoff_adaptive",
    "knockoff_textures",
    "knockoff_shapes",
    "copycat",
    "active_uncertainty_foreign",
    "active_k_center_outputs_foreign",
    "active_k_center_inputs_foreign",
    "active_dfal_foreign",
)
NATURAL = ("active_uncertainty", "active_k_center_outputs", "active_k_center_inputs", "active_dfal", "active_dfal_k_center")
KNOWING = "a thief who knows this design hides what it looks for"
MIXED = "mixtures of natural examples have the statistics of natural ones"
MEASURED = "new, and measured only so far"
SHARED = "each account asks too little; only what links the accounts could tell"


def _ladder(action: Action, *rungs: Rung, share: float = 0.95, why: str = UNDER_COVER) -> tuple[Goal, ...]:
    """Goals by share of cover: a number is a promise, one in brackets an aim, None and what is missing are measured only."""
    goals = []
    for rung in (*rungs, *[None] * (len(SHARES) - len(rungs))):
        if rung is None:
            goals.append(Goal(action, 600, share=0.0, promised=False, why=why))
        elif isinstance(rung, tuple):
            goals.append(Goal(action, rung[0], share=share, promised=False, why=why))
        else:
            goals.append(Goal(action, rung, share=share))
    return tuple(goals)


_NOTHING = _ladder("alert", why=IN_DISTRIBUTION)
_LINE = _ladder("stop", 30, 50, 100, 300, (1000,))
_QUICK = _ladder("stop", 16, 50, 100, 300, (1000,))
_FOREIGN = _ladder("throttle", 50, 100, 300, (1500,), (2000,))

_KNOWING = _ladder("alert", (600,), why=KNOWING)
_MIXED = _ladder("alert", (600,), why=MIXED)

IMAGE: Mapping[str, tuple[Goal, ...]] = MappingProxyType(
    {
        "jbda": _ladder("stop", 16, 50, 100, 500, (2000,)),
        "jbda_reversed": _ladder("stop", 16),
        "jbda_undirected": _ladder("stop", (16,), why=UNMEASURED),
        "jbda_sparse": _ladder("stop", 16),
        "jbda_noisy": _ladder("stop", (50,), why=BLURRED),
        "jbda_uneven": _ladder("stop", (50,), why=BLURRED),
        "jbda_along": _ladder("stop", (200,), why=BLURRED),
        "jbda_heavy_tailed": _ladder("alert", (600,), why=BLURRED),
        "jbda_moved": _ladder("alert", (600,), why=BLURRED),
        "jbrand": _ladder("stop", 16, 50, 100, 700, (2000,)),
        "t_rnd": _ladder("stop", 40, (150,), (400,), (1000,), (2000,)),
        "best": _ladder("alert", (300,), why=BLURRED),
        "line_search": _LINE,
        "line_search_golden": _LINE,
        "line_search_random": _ladder("stop", 60),
        "line_search_jitter_01": _ladder("stop", 400, share=0.9),
        "line_search_jitter_03": _ladder("alert", (600,), why=BLURRED),
        "lowd_meek": _ladder("stop", 40, 80, 150, (700,), (1500,)),
        "hopskipjump": _QUICK,
        "art_hopskipjump": _QUICK,
        "sign_opt": _ladder("stop", 16, 50, 100, (300,), (1000,)),
        "art_sign_opt": _ladder("stop", (400,), why=BLURRED),
        "boundary": _ladder("stop", 60, (150,), (600,), (2000,), (2000,)),
        "art_boundary": _ladder("alert", (600,), why=BLURRED),
        "zoo": _ladder("stop", 20, 80, 120, 400, (1000,)),
        "art_zoo": _ladder("stop", (120,)),
        "finite_differences": _QUICK,
        "functionally_equivalent": _ladder("alert", (300,), why="steps too small to be seen beside what the population does"),
        **dict.fromkeys(("line_search_arcsine", "line_search_shallow"), _KNOWING),
        **dict.fromkeys(
            ("jbda_toned_and_moved", "jbda_smooth", "jbda_by_block", "jbda_heavy_tailed_whole", "jbda_jpeg"), _KNOWING
        ),
        **dict.fromkeys(("copula", "smote", "cut_mix", "three_points", "augmented_seeds"), _MIXED),
        "gaussian": _ladder("throttle", (50,), why=MEASURED),
        **dict.fromkeys(FOREIGN, _FOREIGN),
        **dict.fromkeys(("color", *NATURAL), _NOTHING),
        "active_k_center_inputs": _ladder("alert", 60, why=IN_DISTRIBUTION),
    }
)
"""Goals by attack on pictures, one for each of `SHARES`."""

TABLE: Mapping[str, tuple[Goal, ...]] = MappingProxyType(
    {
        "one_feature_bisect": _ladder("stop", 40, 80, 120, (600,), (2000,), why=NO_RECORDS),
        "one_feature_bisect_whole": _ladder("stop", (80,), why=NO_RECORDS),
        "line_search": _ladder("stop", 80, (120,), (150,), (400,), (1500,), why=NO_RECORDS),
        "line_search_golden": _ladder("stop", (40,), why=NO_RECORDS),
        "line_search_random": _ladder("stop", (40,), why=NO_RECORDS),
        "line_search_jitter_01": _ladder("alert", (600,), why=NO_RECORDS),
        "line_search_jitter_03": _ladder("alert", (600,), why=NO_RECORDS),
        "lowd_meek": _ladder("stop", 50, 100, 200, (800,), (1500,), why=NO_RECORDS),
        "path_finding": _ladder("stop", 150, (200,), (400,), (800,), (2000,), why=NO_RECORDS),
        "path_finding_labels": _ladder("stop", (80,), why=NO_RECORDS),
        "finite_differences": _ladder("stop", 25, 60, 150, (700,), (2000,), why=NO_RECORDS),
        "uniform": _ladder("throttle", 60, (150,), (600,), (1000,), (2000,), why=NO_RECORDS),
        "adaptive_retraining": _ladder("throttle", 60, why=NO_RECORDS),
        "equation_solving": _ladder("throttle", 60, why=NO_RECORDS),
        "gaussian": _ladder("throttle", (60,), why=NO_RECORDS),
        "marginals": _ladder("alert", 120, (200,), (500,), (1500,), (2000,), why=NO_RECORDS),
        "half_swapped": _ladder("alert", (300,), why=NO_RECORDS),
        **dict.fromkeys(("line_search_arcsine", "line_search_shallow", "one_feature_bisect_shallow"), _KNOWING),
        **dict.fromkeys(("copula", "smote", "cut_mix", "three_points"), _MIXED),
        **dict.fromkeys(("jbda", "jbda_standardised", "jbda_undirected", "jbrand"), _ladder("stop", (16,), why=UNMEASURED)),
        "t_rnd": _ladder("stop", (50,), why="the parent of a long step is seldom the nearest record"),
        "hopskipjump": _ladder("stop", (50,), why=NO_RECORDS),
        **dict.fromkeys(NATURAL, _NOTHING),
    }
)
"""Goals by attack on records, one for each of `SHARES`."""

TEXT: Mapping[str, tuple[Goal, ...]] = MappingProxyType(
    {
        "jbda": _ladder("stop", (50,), why=NO_TEXTS),
        "jbda_undirected": _ladder("stop", (50,), why=NO_TEXTS),
        "line_search": _ladder("stop", (50,), why=NO_TEXTS),
        "hopskipjump": _ladder("stop", (50,), why=NO_TEXTS),
        "uniform": _ladder("throttle", (50,), why=NO_TEXTS),
        "gaussian": _ladder("throttle", (50,), why=NO_TEXTS),
        "knockoff_texts": _ladder("throttle", (100,), why=NO_TEXTS),
        **dict.fromkeys(
            ("line_search_jitter_03", "line_search_arcsine", "line_search_shallow", "jbda_heavy_tailed_whole"), _KNOWING
        ),
        **dict.fromkeys(("copula", "smote", "three_points"), _MIXED),
        **dict.fromkeys(NATURAL, _NOTHING),
    }
)
"""Goals by attack on texts, one for each of `SHARES`."""

LADDERS: Mapping[Data, Mapping[str, tuple[Goal, ...]]] = MappingProxyType({"image": IMAGE, "tabular": TABLE, "text": TEXT})

KNOWN = Limits(alert=0.05, throttle=0.025, stop=0.0, tolerance=0.025)
LEFT_OUT = Limits(
    alert=0.1, throttle=0.05, stop=0.0, tolerance=0.025, promised=("stop",), why="what nobody has seen is strange"
)
FROZEN = Limits(alert=0.1, throttle=0.1, stop=0.0, tolerance=0.025, promised=("stop",), why="what nobody has seen is strange")
STRANGE: Mapping[str, Limits] = MappingProxyType(
    {
        "sign_noise": Limits(
            1.0, 1.0, 1.0, promised=(), why="equal-sized random noise on every pixel is the attack's own query"
        ),
    }
)


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        group.id: group
        for group in (
            Group("construction", "construction", "stop", (16, 30), (0.9, 0.97)),
            Group("synthetic", "synthetic around seeds", "stop", (16, 30), (1.0, None), counted="synthetic"),
            Group("foreign", "foreign data", "throttle", (16, 50), (0.9, 0.97)),
            Group("cover-50", "construction under 50% cover", "stop", (30, 50), (None, 0.9)),
            Group("cover-75", "construction under 75% cover", "stop", (50, 100), (None, 0.85)),
            Group("cover-90", "construction under 90% cover", "stop", (100, 300), (None, 0.7)),
            Group("design-aware", "thieves who know the design", "throttle", (16, 50), (None, None), why=KNOWING),
        )
    }
)
"""Groups of attacks in the table of worlds, by id, on the wire of each world."""

KNOWING_SHARE = 0.5
"""Of the thieves who know the design so many are met before their copy has most of its lead (`tests.quality.pace.MOST`)."""

MOST_BEHIND = 0.1
"""How far the half of the worlds that is held out may fall behind the other half in any group, as a share of the clients."""

INNOCENT_GOALS: Mapping[str, Mapping[Action, float]] = MappingProxyType(
    {
        "known": MappingProxyType({"stop": 1 / 10_000, "throttle": 1 / 1000, "alert": 1 / 1000}),
        "never seen": MappingProxyType({"stop": 0.005, "throttle": 0.05, "alert": 0.1}),
    }
)
"""At most these shares of innocent clients of the worlds may be met, by whether their profile was in the benign past."""

MOST_OF_A_PROFILE = 0.2
"""No profile that real clients have may be throttled more often than this."""


def goal_for(kind: Data, attack: str, disguise: Disguise, *, firm: bool = True) -> Goal | None:
    """The goal of an attack under a disguise, None where none was ever set; unless `firm`, promises are aims only.

    Accounts that share the work are held to an alarm on half of them before a quarter of 2,000 queries is spent.
    """
    ladder = LADDERS[kind].get(attack)
    if ladder is None:
        return None
    goal = ladder[SHARES.index(disguise.cover)]
    if disguise.accounts > 1:
        return Goal("alert", 500, promised=False, why=SHARED)
    if goal.promised and (not firm or disguise != Disguise(cover=disguise.cover)):
        return replace(
            goal,
            promised=False,
            why="promised where the model tells probabilities, without other disguise than cover, on data that ship",
        )
    return goal


def limits_for(profile: str, part: Part, kind: Data) -> Limits:
    """The limits of a profile, as known, left out of the past, frozen, or of the later wave."""
    if profile in STRANGE:
        return STRANGE[profile]
    limits = {"known": KNOWN, "left-out": LEFT_OUT, "frozen": FROZEN, "later": FROZEN, "held-out": FROZEN}[part]
    if kind == "text":
        return replace(limits, promised=(), why=NO_TEXTS)
    return limits if kind == "image" else replace(limits, promised=("stop",), why=NO_RECORDS)

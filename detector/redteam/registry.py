"""Every simulated client by its permanent id.

Ids stand in published tables and in the labels of recorded logs: one that has been given is never renamed nor reused. A
new family of attacks is a module of its own and one entry here; the tests walk the registry and hold every entry to the
same promises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam import benign
from detector.redteam.conversation import Array, Conversation, Labels, ValueRange
from detector.redteam.hopskipjump import hopskipjump
from detector.redteam.jbda import jbda
from detector.redteam.knockoff import knockoff_random
from detector.redteam.line_search import line_search
from detector.redteam.uniform import uniform

MakeAttack: TypeAlias = Callable[[Array, Labels, np.random.Generator, ValueRange, int], Conversation]
MakeProfile: TypeAlias = Callable[[Array, Labels, np.random.Generator, ValueRange], Conversation]


@dataclass(frozen=True, slots=True)
class Attack:
    """A way to steal: ``make(pool, labels, rng, value_range, classes)`` begins it; `source` is the paper."""

    id: str
    title: str
    family: str
    source: str
    make: MakeAttack


@dataclass(frozen=True, slots=True)
class Profile:
    """An innocent habit: ``make(pool, labels, rng, value_range)`` begins it.

    `source` is where the habit comes from; `arrival` is the process of `arrivals.ARRIVALS` that belongs to it.
    """

    id: str
    title: str
    family: str
    source: str
    make: MakeProfile
    arrival: str = "poisson"


ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        attack.id: attack
        for attack in (
            Attack(
                "uniform",
                "Uniform random queries",
                family="retraining",
                source="Tramèr et al., USENIX Security 2016, section 6",
                make=uniform,
            ),
            Attack(
                "line_search",
                "Line search between natural examples",
                family="boundary",
                source="Tramèr et al., USENIX Security 2016, section 6",
                make=line_search,
            ),
            Attack(
                "jbda",
                "Jacobian-based augmentation",
                family="synthetic from seeds",
                source="Papernot et al., ASIACCS 2017, section 4.1",
                make=jbda,
            ),
            Attack(
                "knockoff_random",
                "Knockoff Nets, random selection",
                family="natural data",
                source="Orekondy et al., CVPR 2019, section 4.1",
                make=knockoff_random,
            ),
            Attack(
                "hopskipjump",
                "HopSkipJump from natural starting points",
                family="decision based",
                source="Chen et al., IEEE S&P 2020, algorithm 2",
                make=hopskipjump,
            ),
        )
    }
)
"""Attacks by id, simplest first."""

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.id: profile
        for profile in (
            Profile(
                "steady",
                "Independent natural pictures",
                family="selection",
                source="Juuti et al., EuroS&P 2019: the innocent of that evaluation",
                make=benign.steady,
                arrival="steady",
            ),
            Profile(
                "bursty",
                "Independent natural pictures in bursts",
                family="selection",
                source="Willinger et al., IEEE/ACM ToN 5(1), 1997",
                make=benign.bursty,
                arrival="bursty",
            ),
            Profile(
                "skewed",
                "Few classes: Dirichlet(0.25) weights",
                family="selection",
                source="Hsu et al., arXiv 1909.06335",
                make=benign.skewed,
            ),
            Profile(
                "video",
                "Frames of a hand-held camera",
                family="repetition",
                source="own observation: consecutive frames are near duplicates",
                make=benign.video,
                arrival="clockwork",
            ),
            Profile(
                "retries",
                "Exact repeats of 10 to 50% of the queries",
                family="repetition",
                source="own observation: time-outs, reloads and lost caches",
                make=benign.retries,
                arrival="bursty",
            ),
            Profile(
                "noisy_sensor",
                "A poor camera: noise and gain",
                family="device",
                source="own observation: one device, one noise level",
                make=benign.noisy_sensor,
            ),
        )
    }
)
"""Innocent profiles by id."""

"""Thieves who know this design: each an attack and a disguise, beside the plain attack that it stands in for.

Every entry has a permanent id, as attacks have. What hiding costs is measured, not assumed: see `detector.redteam.price`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise
from detector.redteam.setting import Data

MANY_SEARCHES = 40
BURST = 30
PAIRS = 50
NEAR_PIXEL = 1.0


@dataclass(frozen=True, slots=True)
class Evasion:
    """A thief who knows this design: `attack` under `disguise`, where one who does not would use `plain`.

    `against` says what of the design it is aimed at. `only` narrows the kinds of data of the attack to those on which the
    disguise means something.
    """

    id: str
    title: str
    plain: str
    attack: str
    against: str
    disguise: Disguise = field(default_factory=Disguise)
    only: tuple[Data, ...] = ("image", "tabular", "text")

    @property
    def data(self) -> tuple[Data, ...]:
        """The kinds of data that it works on."""
        return tuple(one for one in ATTACKS[self.attack].data if one in self.only and one in ATTACKS[self.plain].data)


EVASIONS: Mapping[str, Evasion] = MappingProxyType(
    {
        one.id: one
        for one in (
            Evasion(
                "weaving",
                f"{MANY_SEARCHES} line searches interleaved",
                "line_search",
                "line_search",
                "the memory of recent queries",
                Disguise(weave=MANY_SEARCHES),
            ),
            Evasion(
                "weaving_columns",
                f"{MANY_SEARCHES} bisections of columns interleaved",
                "one_feature_bisect_whole",
                "one_feature_bisect_whole",
                "the memory of recent queries",
                Disguise(weave=MANY_SEARCHES),
            ),
            Evasion(
                "shallow", "each search stops after two halvings", "line_search", "line_search_shallow", "counts of halvings"
            ),
            Evasion(
                "shallow_columns",
                "each column is halved twice",
                "one_feature_bisect_whole",
                "one_feature_bisect_shallow",
                "counts of halvings",
            ),
            Evasion("jitter", "halvings under 3% noise", "line_search", "line_search_jitter_03", "exact halves"),
            Evasion("arcsine_cuts", "cuts near the ends", "line_search", "line_search_arcsine", "exact halves"),
            Evasion("heavy_tails", "steps whose size has a heavy tail", "jbda", "jbda_heavy_tailed_whole", "steps of one size"),
            Evasion(
                "pixel_shifts",
                "steps moved by up to a pixel",
                "jbda",
                "jbda",
                "comparison pixel by pixel",
                Disguise(shift=NEAR_PIXEL),
                ("image",),
            ),
            Evasion(
                "toned_shifts", "steps moved by a pixel, in another tone", "jbda", "jbda_toned_and_moved", "pixel by pixel"
            ),
            Evasion("smooth_steps", "steps through a low-pass filter", "jbda", "jbda_smooth", "steps of one size"),
            Evasion("block_steps", "one step a block", "jbda", "jbda_by_block", "steps of one size"),
            Evasion("jpeg_steps", "steps through a JPEG", "jbda", "jbda_jpeg", "steps of one size"),
            Evasion("augmentations", "variants of few natural pictures", "jbda", "augmented_seeds", "what looks made up"),
            Evasion(
                "memory_flush",
                f"{BURST} queries of cover before each halving",
                "line_search",
                "line_search",
                "the memory of recent queries",
                Disguise(flush=BURST),
            ),
            Evasion(
                "memory_flush_steps",
                f"{BURST} queries of cover before each step",
                "jbda",
                "jbda",
                "the memory of recent queries",
                Disguise(flush=BURST),
            ),
            Evasion("copula", "a Gaussian copula of a small sample", "uniform", "copula", "foreign data"),
            Evasion("smote", "points between natural neighbours", "uniform", "smote", "foreign data"),
            Evasion("cut_mix", "a piece of one example in another", "uniform", "cut_mix", "foreign data"),
            Evasion("three_points", "mixtures of three examples", "uniform", "three_points", "foreign data"),
            Evasion(
                "pair_an_account",
                f"one search an account, {PAIRS} accounts",
                "line_search",
                "line_search",
                "evidence by client",
                Disguise(accounts=PAIRS, split="pair"),
            ),
        )
    }
)
"""Evasions by id, in the order in which they are published."""


def evasions_of(data: Data) -> dict[str, Evasion]:
    """The evasions that work on one kind of data, by id and in the order of `EVASIONS`.

    >>> list(evasions_of("text"))[:2]
    ['weaving', 'shallow']
    """
    return {name: one for name, one in EVASIONS.items() if data in one.data}

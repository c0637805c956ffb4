"""Every attack by its permanent id.

Ids stand in published tables and in the labels of recorded logs: one that has been given is never renamed nor reused. A
new family is a module of its own and one entry here; the tests walk this table and hold every entry to the same
promises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from detector.redteam import borrowed, data_free
from detector.redteam.active_thief import active_thief
from detector.redteam.adaptive_retraining import adaptive_retraining
from detector.redteam.best import best
from detector.redteam.boundary import boundary
from detector.redteam.color import color
from detector.redteam.columns import Columns
from detector.redteam.conversation import Array, Conversation, Labels, ValueRange
from detector.redteam.equation_solving import equation_solving
from detector.redteam.finite_differences import finite_differences
from detector.redteam.functionally_equivalent import functionally_equivalent
from detector.redteam.hopskipjump import hopskipjump
from detector.redteam.jbda import jbda
from detector.redteam.knockoff import knockoff_adaptive, knockoff_random
from detector.redteam.line_search import line_search
from detector.redteam.lowd_meek import lowd_meek
from detector.redteam.one_feature import one_feature_bisect
from detector.redteam.path_finding import path_finding
from detector.redteam.profiles import Data
from detector.redteam.sign_opt import sign_opt
from detector.redteam.targeted import targeted
from detector.redteam.texts import knockoff_texts
from detector.redteam.uniform import uniform
from detector.redteam.zoo import zoo

MakeAttack: TypeAlias = Callable[..., Conversation]

IMAGE: tuple[Data, ...] = ("image",)
TABULAR: tuple[Data, ...] = ("tabular",)
BOTH: tuple[Data, ...] = ("image", "tabular")
VECTORS: tuple[Data, ...] = ("image", "text")
ALL: tuple[Data, ...] = ("image", "tabular", "text")


@dataclass(frozen=True, slots=True)
class Attack:
    """A way to steal; `source` is the paper.

    ``make(pool, labels, rng, value_range, classes)`` begins it, with ``columns=`` where `data` has tables; `begin` does
    either. `labels_suffice` says whether it still works as meant where the model answers with labels only; `extra` is
    the optional dependency that it needs.
    """

    id: str
    title: str
    family: str
    source: str
    make: MakeAttack
    data: tuple[Data, ...] = IMAGE
    labels_suffice: bool = True
    extra: str | None = None

    def begin(
        self,
        pool: Array,
        labels: Labels,
        rng: np.random.Generator,
        value_range: ValueRange,
        classes: int,
        columns: Columns | None = None,
        data: Data | None = None,
    ) -> Conversation:
        """Begin against pictures, or against a table where `columns` are given, or against what `data` says.

        `pool` (m, dimension) and `labels` (m,) are the natural examples the thief holds. Raises ValueError if the
        attack does not go with such data.
        """
        wanted = data or ("image" if columns is None else "tabular")
        if wanted not in self.data:
            raise ValueError(f"{self.id} takes {' or '.join(self.data)} data, not {wanted}")
        if columns is None:
            return self.make(pool, labels, rng, value_range, classes)
        return self.make(pool, labels, rng, value_range, classes, columns=columns)


TRAMER = "Tramèr et al., USENIX Security 2016"
JUUTI = "Juuti et al., EuroS&P 2019, section 3"
PAPERNOT = "Papernot et al., ASIACCS 2017, section 4.1"
OREKONDY = "Orekondy et al., CVPR 2019"
PAL = "Pal et al., AAAI 2020"
OWN = "an adversary who knows this design"

RETRAINING = (
    Attack("uniform", "Uniform random queries", "retraining", f"{TRAMER}, section 6", uniform, ALL),
    Attack(
        "adaptive_retraining",
        "Uniform points where the copy is unsure",
        "retraining",
        f"{TRAMER}, section 6",
        adaptive_retraining,
        BOTH,
    ),
    Attack(
        "equation_solving",
        "Equations of a linear model",
        "equation solving",
        f"{TRAMER}, section 4.1",
        equation_solving,
        BOTH,
        labels_suffice=False,
    ),
    Attack(
        "functionally_equivalent",
        "Kinks of a ReLU network",
        "equation solving",
        "Jagielski et al., USENIX Security 2020, section 6",
        functionally_equivalent,
        labels_suffice=False,
    ),
    Attack(
        "path_finding",
        "Leaves of a decision tree",
        "path-finding",
        f"{TRAMER}, section 4.2",
        path_finding,
        TABULAR,
        labels_suffice=False,
    ),
    Attack(
        "path_finding_labels",
        "Leaves of a decision tree, by labels",
        "path-finding",
        f"{TRAMER}, section 4.2",
        partial(path_finding, identify="labels"),
        TABULAR,
    ),
)

BOUNDARY = (
    Attack("line_search", "Line search between natural examples", "boundary", f"{TRAMER}, section 6", line_search, ALL),
    Attack("line_search_golden", "Line search by golden section", "boundary", OWN, partial(line_search, cut="golden"), BOTH),
    Attack("line_search_random", "Line search by random cuts", "boundary", OWN, partial(line_search, cut="random"), BOTH),
    Attack("line_search_jitter_01", "Line search under 1% noise", "boundary", OWN, partial(line_search, jitter=0.01), BOTH),
    Attack("line_search_jitter_03", "Line search under 3% noise", "boundary", OWN, partial(line_search, jitter=0.03), BOTH),
    Attack("lowd_meek", "Sign witness and features one by one", "boundary", "Lowd, Meek, KDD 2005", lowd_meek, BOTH),
    Attack(
        "one_feature_bisect",
        "Bisection of single columns",
        "boundary",
        f"{TRAMER}, section 4.2",
        one_feature_bisect,
        TABULAR,
    ),
    Attack(
        "one_feature_bisect_whole",
        "Bisection of single columns in whole numbers",
        "boundary",
        OWN,
        partial(one_feature_bisect, whole=True),
        TABULAR,
    ),
)

SEEDED = (
    Attack("jbda", "Jacobian-based augmentation", "synthetic from seeds", PAPERNOT, jbda, VECTORS),
    Attack(
        "jbda_reversed",
        "Jacobian-based augmentation, towards the boundary",
        "synthetic from seeds",
        PAPERNOT,
        partial(jbda, step=-25.5 / 255),
    ),
    Attack("jbda_noisy", "Jacobian steps under noise", "synthetic from seeds", OWN, partial(jbda, law="noisy")),
    Attack("jbda_uneven", "Jacobian steps of random size", "synthetic from seeds", OWN, partial(jbda, law="uneven")),
    Attack(
        "jbda_heavy_tailed",
        "Jacobian steps of exponential size",
        "synthetic from seeds",
        OWN,
        partial(jbda, law="heavy_tailed"),
    ),
    Attack("jbda_moved", "Jacobian steps on moved pictures", "synthetic from seeds", OWN, partial(jbda, law="moved")),
    Attack("jbda_sparse", "Jacobian steps in 30% of the pixels", "synthetic from seeds", OWN, partial(jbda, law="sparse")),
    Attack("jbda_along", "Steps along the gradient itself", "synthetic from seeds", OWN, partial(jbda, law="along")),
    Attack("jbrand", "One step towards a random class", "synthetic from seeds", JUUTI, targeted),
    Attack(
        "t_rnd",
        "Iterated steps towards a random class",
        "synthetic from seeds",
        JUUTI,
        partial(targeted, step=64 / 255, iterations=5),
    ),
    Attack("color", "Random shifts of colour", "synthetic from seeds", JUUTI, color),
    Attack("best", "Pictures the copy cannot decide about", "synthetic from seeds", "Li et al., ICLR 2023", best),
)

NATURAL = (
    Attack(
        "knockoff_random",
        "Knockoff Nets, random selection",
        "natural data",
        f"{OREKONDY}, section 4.1",
        knockoff_random,
        labels_suffice=False,
    ),
    Attack(
        "knockoff_adaptive",
        "Knockoff Nets, adaptive selection",
        "natural data",
        f"{OREKONDY}, section 4.1",
        knockoff_adaptive,
        labels_suffice=False,
    ),
    Attack(
        "knockoff_textures",
        "Knockoff Nets on textures",
        "natural data",
        f"{OREKONDY}, section 4.1",
        partial(knockoff_random, kind="textures"),
        labels_suffice=False,
    ),
    Attack(
        "knockoff_shapes",
        "Knockoff Nets on plain shapes",
        "natural data",
        f"{OREKONDY}, section 4.1",
        partial(knockoff_random, kind="shapes"),
        labels_suffice=False,
    ),
    Attack(
        "copycat",
        "CopycatCNN: photographs and hard labels",
        "natural data",
        "Correia-Silva et al., IJCNN 2018",
        partial(knockoff_random, kind="photographs"),
    ),
    Attack(
        "knockoff_texts",
        "Knockoff Nets on texts of another kind",
        "natural data",
        f"{OREKONDY}, section 4.1",
        knockoff_texts,
        ("text",),
        labels_suffice=False,
    ),
    Attack(
        "generator_proxy",
        "Smooth random fields of an untrained generator",
        "data-free",
        "after Truong et al., CVPR 2021",
        data_free.generator_proxy,
        labels_suffice=False,
    ),
    Attack("marginals", "Columns drawn independently", "data-free", f"after {TRAMER}", data_free.marginals, TABULAR),
    Attack(
        "half_swapped",
        "Crossings of two records",
        "data-free",
        "after Syswerda, ICGA 1989",
        data_free.half_swapped,
        TABULAR,
    ),
)

ACTIVE = tuple(
    Attack(
        f"active_{name}",
        f"ActiveThief, {title}",
        "active learning",
        PAL,
        partial(active_thief, selection=name),
        ALL,
    )
    for name, title in (
        ("uncertainty", "uncertain examples"),
        ("k_center_outputs", "k-center on outputs"),
        ("k_center_inputs", "k-center on inputs"),
        ("dfal", "DeepFool selection"),
        ("dfal_k_center", "DeepFool selection, then k-center"),
    )
) + tuple(
    Attack(
        f"active_{name}_foreign",
        f"ActiveThief, {title} of a foreign pool",
        "active learning",
        PAL,
        partial(active_thief, selection=name, foreign=600),
    )
    for name, title in (
        ("uncertainty", "uncertain examples"),
        ("k_center_outputs", "k-center on outputs"),
        ("k_center_inputs", "k-center on inputs"),
        ("dfal", "DeepFool selection"),
    )
)

DECISION_BASED = (
    Attack(
        "hopskipjump",
        "HopSkipJump from natural starting points",
        "decision based",
        "Chen et al., IEEE S&P 2020, algorithm 2",
        hopskipjump,
        VECTORS,
    ),
    Attack(
        "boundary",
        "Boundary attack from natural starting points",
        "decision based",
        "Brendel et al., ICLR 2018, algorithm 1",
        boundary,
    ),
    Attack(
        "sign_opt",
        "Sign-OPT from natural starting points",
        "decision based",
        "Cheng et al., ICLR 2020, algorithm 1",
        sign_opt,
    ),
    Attack("zoo", "ZOO, a pixel at a time", "score based", "Chen et al., AISec 2017", zoo, labels_suffice=False),
    Attack(
        "finite_differences",
        "Gradients by symmetric differences",
        "score based",
        "Chen et al., AISec 2017, equation 6",
        finite_differences,
        BOTH,
        labels_suffice=False,
    ),
)

BORROWED = (
    Attack(
        "art_hopskipjump",
        "HopSkipJump of the robustness toolbox",
        "decision based",
        "Chen et al., IEEE S&P 2020",
        borrowed.art_hopskipjump,
        extra="art",
    ),
    Attack(
        "art_boundary",
        "Boundary attack of the robustness toolbox",
        "decision based",
        "Brendel et al., ICLR 2018",
        borrowed.art_boundary,
        extra="art",
    ),
    Attack(
        "art_sign_opt",
        "Sign-OPT of the robustness toolbox",
        "decision based",
        "Cheng et al., ICLR 2020",
        borrowed.art_sign_opt,
        extra="art",
    ),
    Attack(
        "art_zoo",
        "ZOO of the robustness toolbox",
        "score based",
        "Chen et al., AISec 2017",
        borrowed.art_zoo,
        labels_suffice=False,
        extra="art",
    ),
)

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {attack.id: attack for attack in RETRAINING + BOUNDARY + SEEDED + NATURAL + ACTIVE + DECISION_BASED + BORROWED}
)
"""Attacks by id, family by family."""

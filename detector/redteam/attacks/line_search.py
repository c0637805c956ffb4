"""Line search: find the boundary between two labels by halving the way from one example to the other."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np

from detector.redteam.conversation import Conversation, ask, two_labels
from detector.redteam.entries import attack
from detector.redteam.setting import Setting

Cut = Literal["half", "golden", "random", "arcsine"]
CUTS: dict[Cut, Callable[[np.random.Generator], float]] = {
    "half": lambda _rng: 0.5,
    "golden": lambda _rng: float((np.sqrt(5.0) - 1.0) / 2.0),
    "random": lambda rng: float(rng.uniform(0.2, 0.8)),
    "arcsine": lambda rng: float(np.clip(rng.beta(0.5, 0.5), 0.02, 0.98)),
}


@attack(
    id="line_search",
    title="Line search between natural examples",
    family="boundary",
    source="Tramèr et al., USENIX Security 2016, section 6",
    data=("image", "tabular", "text"),
)
def line_search(
    setting: Setting, *, tolerance: float = 0.01, cut: Cut = "half", jitter: float = 0.0, most: int = 40
) -> Conversation:
    """Line-search retraining (Tramèr et al., USENIX Security 2016, section 6), from natural examples.

    Asks about natural pictures until two have different labels, then bisects between them until the bracket is shorter
    than `tolerance` times the value range (Euclidean), then takes the next two. The points found lie on the boundary,
    where they teach a substitute most. In records, codes are those of the farther end, whole numbers are rounded, and
    distances are measured in units of each column's range.

    A thief who knows that halving is watched for cuts the bracket elsewhere: at the golden section, at a uniformly random 20 to
    80% of the way, or near one of the ends by the arcsine law; or he hides the line under a `jitter` of that standard
    deviation, in units of the value range. All of it costs him queries, and the jitter costs precision: the bracket cannot
    become narrower than the noise, so after `most` cuts he gives up. Who knows that halvings are counted stops after two.

    Needs natural pictures of at least two labels, and labels only. Never ends; on a model with one label it goes on
    asking about natural pictures.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    while True:
        near, label, far = yield from two_labels(pool, rng)
        for _ in range(most):
            if space.distance(near, far) <= tolerance:
                break
            middle = space.between(near, far, CUTS[cut](rng))
            if jitter:
                noise = np.zeros(space.dimension)
                noise[space.numeric] = jitter * space.width[space.numeric] * rng.standard_normal(space.numeric.size)
                middle = space.settle(middle + noise)
            if np.array_equal(middle, near) or np.array_equal(middle, far):
                break
            if (yield from ask(middle)) == label:
                near = middle
            else:
                far = middle


attack(
    id="line_search_golden",
    title="Line search by golden section",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular"),
)(partial(line_search, cut="golden"))
attack(
    id="line_search_random",
    title="Line search by random cuts",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular"),
)(partial(line_search, cut="random"))
attack(
    id="line_search_jitter_01",
    title="Line search under 1% noise",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular"),
)(partial(line_search, jitter=0.01))
attack(
    id="line_search_jitter_03",
    title="Line search under 3% noise",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular", "text"),
)(partial(line_search, jitter=0.03))
attack(
    id="line_search_arcsine",
    title="Line search by cuts near the ends",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular", "text"),
)(partial(line_search, cut="arcsine"))
attack(
    id="line_search_shallow",
    title="Line search that stops after two halvings",
    family="boundary",
    source="an adversary who knows this design",
    data=("image", "tabular", "text"),
)(partial(line_search, most=2))

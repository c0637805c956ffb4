"""Jacobian-based augmentation: step from every known point to where the substitute is most sensitive."""

from functools import partial

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation, ask_some
from detector.redteam.entries import attack
from detector.redteam.jacobian_steps import STEPS, Spread, Strides
from detector.redteam.network import one_hot, train
from detector.redteam.pictures import compressed
from detector.redteam.setting import Setting


@attack(
    id="jbda",
    title="Jacobian-based augmentation",
    family="synthetic from seeds",
    source="Papernot et al., ASIACCS 2017, section 4.1",
    data=("image", "text", "tabular"),
)
def jbda(
    setting: Setting,
    *,
    seeds: int = 20,
    step: float = 25.5 / 255,
    law: str = "flat",
    spread: Spread = "range",
    quality: float | None = None,
) -> Conversation:
    """Jacobian-based data-set augmentation (Papernot et al., ASIACCS 2017, section 4.1, algorithm 1).

    Begins with `seeds` natural pictures, drawn at random, so that the classes are uneven. Each round trains a
    substitute (64 hidden units) on every answer so far, then asks about ``clip(x + step * sign(gradient))`` for every x
    asked so far, the gradient being that of the substitute's output for x's own label: the set doubles. `step` is in
    units of the value range; 25.5/255 is what the detection literature uses (Juuti et al., EuroS&P 2019).

    The step raises the label's own probability, so most answers repeat the seed's; a negative `step` goes the other
    way, towards the boundary. Other laws of `jacobian_steps` hide the step's evenness, at the price of its effect, and
    so does a JPEG of `quality` between the thief and the model.

    In tables the step of a number is `step` times its column's `spread`, in whole steps of the column's grid; codes stay as
    they are. The substitute sees numbers scaled to [0, 1] and indicators of codes.

    Needs a handful of natural examples, and labels only. Never ends; fewer examples than `seeds` are all used. Raises
    ValueError at the first query if there is none. In a table of codes alone every made query repeats a seed.
    """
    pool, rng = setting.pool, setting.rng
    if len(pool) == 0:
        raise ValueError("the attack needs at least one natural picture to start from")
    strides = Strides.of(setting, step, spread)
    asked, responses = yield from ask_some(pool, seeds, rng)
    while True:
        X = np.stack(asked)
        y = np.array(responses)
        features = strides.features(X)
        substitute = train(features, one_hot(y, setting.classes), rng, steps=200)
        gradients = strides.slopes(substitute.label_gradients(features, y))
        for x, gradient in zip(X, gradients, strict=True):
            made = strides.space.settle(STEPS[law](x, np.sign(step) * gradient, strides.size, rng))
            if quality is not None:
                made = compressed(made, setting.value_range, quality)
            answer = yield AskedQuery(made, synthetic=True)
            asked.append(made)
            responses.append(int(np.argmax(answer)))


attack(
    id="jbda_reversed",
    title="Jacobian-based augmentation, towards the boundary",
    family="synthetic from seeds",
    source="Papernot et al., ASIACCS 2017, section 4.1",
)(partial(jbda, step=-25.5 / 255))

attack(
    id="jbda_standardised",
    title="Jacobian-based augmentation of standardised columns",
    family="synthetic from seeds",
    source="Papernot et al., ASIACCS 2017, section 4.1",
    data=("tabular",),
)(partial(jbda, step=0.3, spread="deviation"))

attack(
    id="jbda_undirected",
    title="Steps of one size with random signs",
    family="synthetic from seeds",
    source="Juuti et al., EuroS&P 2019, section 3",
    data=("image", "text", "tabular"),
)(partial(jbda, law="undirected"))

for _law, _title in (
    ("noisy", "Jacobian steps under noise"),
    ("uneven", "Jacobian steps of random size"),
    ("heavy_tailed", "Jacobian steps of exponential size"),
    ("moved", "Jacobian steps on moved pictures"),
    ("sparse", "Jacobian steps in 30% of the pixels"),
    ("along", "Steps along the gradient itself"),
):
    attack(id=f"jbda_{_law}", title=_title, family="synthetic from seeds", source="an adversary who knows this design")(
        partial(jbda, law=_law)
    )

for _law, _title in (
    ("toned_and_moved", "Jacobian steps on pictures moved by a pixel, in another tone"),
    ("smooth", "Jacobian steps through a low-pass filter"),
    ("by_block", "Jacobian steps by block"),
):
    attack(id=f"jbda_{_law}", title=_title, family="synthetic from seeds", source="an adversary who knows this design")(
        partial(jbda, law=_law)
    )
attack(
    id="jbda_heavy_tailed_whole",
    title="Jacobian steps whose size has a heavy tail",
    family="synthetic from seeds",
    source="an adversary who knows this design",
    data=("image", "text"),
)(partial(jbda, law="heavy_tailed_whole"))
attack(
    id="jbda_jpeg",
    title="Jacobian steps through a JPEG",
    family="synthetic from seeds",
    source="an adversary who knows this design",
)(partial(jbda, quality=75.0))

"""Uniform random queries: the thief who knows nothing but the shape of the input."""

from detector.redteam.conversation import AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(
    id="uniform",
    title="Uniform random queries",
    family="retraining",
    source="Tramèr et al., USENIX Security 2016, section 6",
    data=("image", "tabular", "text"),
)
def uniform(setting: Setting) -> Conversation:
    """Retraining with uniform queries (Tramèr et al., USENIX Security 2016, section 6).

    Every value is drawn independently and uniformly from the value range, or from its column's. Needs no data (of
    `pool` only the dimension is read) and no probabilities. Copies a model of few inputs; on pictures most answers fall
    into one or two classes and the copy stays poor. Never ends.
    """
    rng, space = setting.rng, setting.space
    while True:
        yield AskedQuery(space.draw(1, rng)[0], synthetic=True)

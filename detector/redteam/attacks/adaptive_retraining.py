"""Adaptive retraining: ask about made-up points where the copy is least sure."""

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.network import train
from detector.redteam.setting import Setting


@attack(
    id="adaptive_retraining",
    title="Uniform points where the copy is unsure",
    family="retraining",
    source="Tramèr et al., USENIX Security 2016, section 6",
    data=("image", "tabular"),
)
def adaptive_retraining(setting: Setting, *, batch: int = 25, spread: int = 20) -> Conversation:
    """Adaptive retraining (Tramèr et al., USENIX Security 2016, section 6; Cohn, Atlas, Ladner 1994).

    Rounds of `batch` queries: the first uniform, each further one those of ``spread * batch`` uniform points that lie
    nearest to the boundary of a copy trained on all answers so far, by the gap between its two largest probabilities.

    Needs no data (of `pool` only the dimension is read); labels do, probabilities teach the copy more. On pictures
    uniform points are noise whose labels hardly vary, and the copy stays poor. Never ends.
    """
    rng, space = setting.rng, setting.space
    asked: list[Array] = []
    responses: list[Array] = []
    chosen = space.draw(batch, rng)
    while True:
        for made in chosen:
            answer = yield AskedQuery(made, synthetic=True)
            asked.append(made)
            responses.append(answer)
        copy = train(space.encode(np.stack(asked)), np.stack(responses), rng, steps=200)
        candidates = space.draw(spread * batch, rng)
        chosen = candidates[np.argsort(gaps(copy.probabilities(space.encode(candidates))))[:batch]]


def gaps(probabilities: Array) -> Array:
    """Difference between the two largest probabilities of each row, (n,): small near a boundary.

    >>> gaps(np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]])).round(6).tolist()
    [0.2, 0.8]
    """
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])

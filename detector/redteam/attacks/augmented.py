"""A thief's own augmentations: many variants of few natural pictures, as training makes them."""

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation, ask_some
from detector.redteam.entries import attack
from detector.redteam.pictures import compressed, shifted, side_of, toned, turned
from detector.redteam.setting import Setting


@attack(
    id="augmented_seeds",
    title="Natural pictures mirrored, turned, moved, toned and compressed",
    family="in distribution",
    source="an adversary who knows this design",
)
def augmented_seeds(setting: Setting, *, seeds: int = 20) -> Conversation:
    """Random variants of `seeds` natural pictures: what an innocent sends who averages answers, for as long as it pays.

    Each is mirrored or not, turned by up to 20 degrees, moved by up to a tenth of the side, in another tone, and through a
    JPEG of quality 30 to 90. Asks about the seeds first and never ends. Raises ValueError at the first query without any.
    """
    rng, value_range = setting.rng, setting.value_range
    asked, _ = yield from ask_some(setting.pool, seeds, rng)
    if not asked:
        raise ValueError("the attack needs at least one natural picture to start from")
    side = side_of(asked[0].size)
    reach, lo = max(1.0, 0.1 * side), value_range[0]
    while True:
        picture = asked[int(rng.integers(len(asked)))].reshape(side, side)
        seen = (picture[:, ::-1] if rng.random() < 0.5 else picture).ravel()
        seen = shifted(turned(seen, rng.uniform(-20.0, 20.0), lo), rng.uniform(-reach, reach, 2), lo)
        seen = toned(seen, value_range, rng.uniform(-0.1, 0.1), rng.uniform(0.8, 1.2))
        yield AskedQuery(np.clip(compressed(seen, value_range, rng.uniform(30.0, 90.0)), *value_range), synthetic=True)

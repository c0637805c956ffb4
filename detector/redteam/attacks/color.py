"""COLOR: the same change of colour in every pixel of a known picture."""

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(
    id="color", title="Random shifts of colour", family="synthetic from seeds", source="Juuti et al., EuroS&P 2019, section 3"
)
def color(setting: Setting, *, seeds: int = 20, reach: float = 64 / 255, channels: int = 1) -> Conversation:
    """COLOR augmentation (Juuti et al., EuroS&P 2019, section 3): shift each colour channel by a random constant.

    Asks about `seeds` natural pictures, then in rounds about every picture asked so far, with a shift drawn uniformly
    up to `reach` of the value range for each channel. `channels` is the length of a pixel, the last axis of the picture
    as it was flattened. Grey pictures have one, and the attack is then a change of brightness, which innocents do as
    well: it cannot be told from a tester, and teaches little.

    Needs a handful of natural pictures, and labels only. Never ends. Raises ValueError at the first query without any,
    or if the dimension is not a multiple of `channels`.
    """
    pool, rng = setting.pool, setting.rng
    if len(pool) == 0 or pool.shape[1] % channels:
        raise ValueError(f"the attack needs natural pictures of {channels} channels")
    lo, hi = setting.value_range
    asked = [pool[index] for index in rng.choice(len(pool), size=min(seeds, len(pool)), replace=False)]
    for picture in asked:
        yield AskedQuery(picture)
    while True:
        for picture in tuple(asked):
            shift = rng.uniform(-reach, reach, channels) * (hi - lo)
            made = np.clip((picture.reshape(-1, channels) + shift).ravel(), lo, hi)
            yield AskedQuery(made, synthetic=True)
            asked.append(made)

"""Sens: short steps away from confident answers keep costing the model far more confidence than distance explains.

A step along the model's own gradient lowers the margin as fast as any step of its length. That holds whatever its shape, so
this channel sees steps that `offset` misses: Euclidean, heavy-tailed and shifted ones. One such pair proves little, since blur
and drift lower the margin, too. So the channel counts how often it happens, over pairs whose earlier answer was confident.

Draws about one query are steep at every draw where the model is. So steep steps count twice at one place.
"""

import numpy as np

from detector.engine.evidence.channel import Channel, Counted
from detector.engine.kernels import kernel

CHANNEL = Channel(
    name="sens",
    kind="construction",
    floor=15.0,
    ratio=Counted(attack=0.6, innocent=0.27),
    title="Queries that follow the model's gradient",
    description="Short steps keep costing the model far too much confidence.",
    meaning="short steps away from confident answers cost far more confidence than distance explains, as gradient steps do",
    lookalike="strong blur and a failing sensor lower confidence steeply as well, at half the rate or less",
    innocent="Strong blur and a failing sensor, at half the attack's rate or less.",
    blind_to=(
        "Augmentation that raises the label's own probability (JbDA as published), further steps about one place, and logs "
        "without probabilities."
    ),
)

CLOSEST = 0.144  # least length of the step, in median nearest-neighbour distances
FARTHEST = 1.0
CONFIDENT = 1.5  # least margin of the earlier answer, as a difference of logarithms
PLACE = 1.3  # size of a place, in median nearest-neighbour distances
MOST_PER_PLACE = 2
STEEP = -6.0  # largest change of that margin per median nearest-neighbour distance that counts as steep


@kernel
def compares(distance, earlier_margin, moved):
    """Tell whether a pair can be judged: it is near, and the earlier answer was confident (False where that is not known).

    A step that is no longer than `moved`, the distance by which a JPEG moves two pictures apart, is not the client's.
    """
    return max(CLOSEST, moved) < distance < FARTHEST and earlier_margin > CONFIDENT


@kernel
def is_steep(distance, earlier_margin, margin, same_label):
    """Tell whether the earlier label's margin fell steeply; where the label changed, it is at most minus the new margin."""
    if np.isnan(margin):
        return False
    now = margin if same_label else -margin
    return (now - earlier_margin) < STEEP * distance

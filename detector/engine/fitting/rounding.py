"""Rounding: how far a JPEG moves the pictures of a population, in the memory's units.

Where clients send one quality, its steps are read off the coefficients, whatever the table (`jpeg`). Where they send several,
those of the standard are told apart (`qualities`).
"""

from typing import Any

import numpy as np

from detector.engine.fitting.jpeg import blocks_of, displaced, jpeg_of, moved_by
from detector.engine.fitting.qualities import Sent, qualities_of
from detector.engine.models.reference import C_LEVELS, Floats, Reference

COARSER = 0.1  # share of the pictures that may be rounded more than the population's yardsticks say


def rounding_of_jpeg(reference: Reference, vectors: Floats, seed: int) -> dict[str, Any]:
    """Return what rounding does to pictures (n, dimension) that went through a JPEG, as fields of a reference; else nothing.

    Of several qualities it is what a rather coarse one does: at most `COARSER` of the pictures are rounded more.
    """
    if reference.table or reference.grain == 0.0:
        return {}
    jpeg = jpeg_of(vectors)
    if jpeg is not None:
        sent, displacements = [Sent(1.0, jpeg)], [displaced(vectors, jpeg, seed)]
    else:
        sent, before = qualities_of(vectors, seed)
        displacements = [moved_by(before, one.jpeg) for one in sent]
    if not sent:
        return {}
    known = []
    for one, parts in zip(sent, displacements, strict=True):
        moved, middles = (part * reference.scale for part in parts)
        # The memory rounds to whole steps besides: the query, and the ends by a quarter each.
        blurs = np.square(middles @ reference.projection / reference.quantum).mean(axis=0) + 1.5 / 12.0
        rounding = 2.0 * (1.0 / 12.0 + float(np.square(moved[:, reference.sampled] * C_LEVELS).mean()))
        known.append((float(blurs.sum()), blurs.astype(np.float32), rounding, one.share))
    known.sort(key=lambda one: one[0])
    shares = np.cumsum([share for *_, share in known])
    blur, blurs, rounding, _ = known[min(int(np.searchsorted(shares, (1.0 - COARSER) * shares[-1])), len(known) - 1)]
    return {"blur": blur, "blurs": blurs, "rounding": rounding, "blocks": blocks_of(sent[0].jpeg, reference.sampled)}

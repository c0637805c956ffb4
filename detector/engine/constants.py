"""Constants: what the kernels of a model are given at every call, made from its reference once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.coarse import Coarse
from detector.engine.evidence.drawn import Drawn
from detector.engine.evidence.frame import neighbours_of
from detector.engine.evidence.look import Look
from detector.engine.evidence.noise import Sights, sights_from
from detector.engine.features.normality import shapiro_coefficients
from detector.engine.memory.checksums import weights_of
from detector.engine.memory.kept import Kept, room_for
from detector.engine.memory.observe import Scratch, scratch_for
from detector.engine.memory.reservoir import Memory
from detector.engine.memory.yardsticks import Population, Scales
from detector.engine.models.reference import C_HIGHEST, C_LOWEST, C_UNIT, Reference


class Constants(NamedTuple):
    """What the kernels are given at every call: yardsticks, scratch arrays, and room for no reading of the odometer."""

    scales: Scales
    population: Population
    coarse: Coarse
    scratch: Scratch
    sights: Sights | None
    drawn: Drawn | None
    look: Look | None
    kept: Kept


def constants_of(reference: Reference, memory: Memory, ring: int) -> Constants:
    """Return the constants of a model whose clients' memories have a ring of this length."""
    return Constants(
        scales_of(reference, ring),
        population_of(reference, memory.window.shape[1]),
        reference.coarse,
        scratch_for(memory, reference.measured, reference.leading.shape[1]),
        sights_from(reference.sights, reference.sight_values) if len(reference.sight_values) else None,
        reference.drawn if len(reference.drawn_columns) else None,
        reference.look,
        room_for(memory, 0),
    )


def scales_of(reference: Reference, ring: int) -> Scales:
    """Return the numbers among a reference's yardsticks, for a memory with a ring of this length.

    Their types are fixed here, because a kernel is compiled again for every new combination of types.
    """
    return Scales(
        unit=float(reference.unit),
        quantum=float(reference.quantum),
        c_unit=C_UNIT,
        c_lowest=C_LOWEST,
        c_highest=C_HIGHEST,
        c_zero=reference.zero,
        measured=int(reference.measured),
        principal=int(reference.principal),
        dimension=int(reference.dimension),
        grain=float(reference.grain),
        tolerance=float(reference.tolerance),
        blur=reference.blur_sharpened,
        rounding=float(reference.rounding),
        moved=reference.moved,
        table=bool(reference.table),
        numbers=int(reference.numbers),
        usual=float(reference.usual_structure),
        spread=float(reference.structure_spread),
        usual_stray=float(reference.usual_stray),
        stray_spread=float(reference.stray_spread),
        neighbour=float(reference.neighbour),
        ring=ring,
    )


def population_of(reference: Reference, window: int) -> Population:
    """Return the arrays among a reference's yardsticks, for windows of so many distances."""
    _, keys = weights_of(reference.dimension if reference.summed else 0)
    return Population(
        variance=reference.variance,
        c_variance=reference.c_variance,
        sharpness=reference.sharpness,
        origin=reference.origin,
        plain=reference.plain,
        level=reference.level,
        kinship=reference.kinship,
        middle=reference.middle,
        leading=reference.leading,
        remote=reference.remote,
        keys=keys,
        coefficients=coefficients_up_to(window),
        turning=reference.turning,
        neighbours=neighbours_of(reference.sampled, 0 if reference.table or reference.sphere > 0.0 else reference.dimension),
        blocks=reference.blocks,
    )


def coefficients_up_to(window: int) -> npt.NDArray[np.float64]:
    """Return the Shapiro-Wilk coefficients (window + 1, window // 2): one row for each size of a sample up to `window`."""
    coefficients = np.zeros((window + 1, window // 2))
    for n in range(3, window + 1):
        coefficients[n, : n // 2] = shapiro_coefficients(n)
    return coefficients

"""Yardsticks: the figures of a model's population that the memory and the channels compare a query with."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Scales(NamedTuple):
    """The numbers among the yardsticks.

    `unit` is one step of the projected integers in median nearest-neighbour distances, `quantum` the same in value ranges.
    `c_unit` is one step of the sampled integers in value ranges; in such steps the value range begins at `c_lowest` and ends at
    `c_highest`, and the raw value 0 is `c_zero`, NaN unless all inputs lie on a sphere. The first `measured` sampled values are
    numbers, the others indicators of categories. The first `principal` coordinates are principal directions. `dimension` is the
    number of input values. `grain` is the size of one level of the population's values in value ranges, 0 where they are
    continuous. `tolerance` is how far off a line a point may lie, as a share of its distances. `blur` is the expected squared
    distance, in squares of the projected integers times `Population.sharpness`, that rounding puts between the middle of two
    queries and the query there. `rounding` is the expected square, in squares of the sampled integers, which it adds to the
    difference of two values. `moved` is how far apart a JPEG moves two nearly equal pictures, in median nearest-neighbour
    distances, 0 where there was none. `table` is True for tables, whose first `numbers` coordinates are numeric columns.
    `usual` and `spread` are the population's mean and deviation of `structure`, `usual_stray` and `stray_spread` those of the
    stray; all are NaN where not known. `neighbour` is the median nearest-neighbour distance in value ranges. `ring` is the
    number of places in the ring, which retains the latest queries.
    """

    unit: float
    quantum: float
    c_unit: float
    c_lowest: float
    c_highest: float
    c_zero: float
    measured: int
    principal: int
    dimension: int
    grain: float
    tolerance: float
    blur: float
    rounding: float
    moved: float
    table: bool
    numbers: int
    usual: float
    spread: float
    usual_stray: float
    stray_spread: float
    neighbour: float
    ring: int


class Population(NamedTuple):
    """The arrays among the yardsticks.

    `variance` (coordinates,) and `c_variance` (samples,) are the population's variances of the projected and the sampled
    integers. `sharpness` (coordinates,) are the factors that bring rounding to one size in all coordinates, 1 where values are
    not rounded. `origin` (coordinates,) is what projected integers lack to those from the centre of the sphere on which all
    inputs lie; it is empty where they lie on none. `plain` (2, coordinates) says where black and plain pictures lie (see
    `evidence.pattern.contents_of`); it has no rows unless pictures went through a JPEG. `level` (coordinates,) is the distance
    between two values of a numeric column, 0 where they are continuous. `leading` (samples, directions) are the directions in
    which sampled values vary most. `remote` (views, 2) are usual values and deviations (see `evidence.remote`), NaN where not
    known. `kinship` (Gram matrix) and `middle` (mean) recover nearly exact distances from the integers. `keys` (dimension,) are
    the checksums' weights with their bits read backwards, empty where no checksums are kept. `coefficients` (window + 1, half)
    are those of the Shapiro-Wilk statistic. `turning` (distances, margins) are how often labels turn (see the channel `turns`).
    `neighbours` (ways, pixels, samples) are the sampled neighbours of each pixel of a small picture (see `evidence.frame`).
    `blocks` (samples,) are the blocks of a JPEG that the sampled values lie in, empty where they are not told (see
    `evidence.blocks`).
    """

    variance: npt.NDArray[np.float32]
    c_variance: npt.NDArray[np.float32]
    sharpness: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float32]
    plain: npt.NDArray[np.float32]
    level: npt.NDArray[np.float32]
    kinship: npt.NDArray[np.float32]
    middle: npt.NDArray[np.float32]
    leading: npt.NDArray[np.float32]
    remote: npt.NDArray[np.float32]
    keys: npt.NDArray[np.uint32]
    coefficients: npt.NDArray[np.float64]
    turning: npt.NDArray[np.float32]
    neighbours: npt.NDArray[np.int16]
    blocks: npt.NDArray[np.int16]

"""Targets: what responses say of each class, for the copies that are trained on them.

A response names a label, and may give probabilities by place. Which place belongs to which label stands nowhere, so it is
learned from what stands side by side. What cannot be understood is left out, and the label counts alone: misread probabilities
would teach less than none.
"""

import numpy as np
import numpy.typing as npt

from detector.engine.odometer.told import Told

TRUSTED = 0.9  # share of the responses whose label has the largest probability, where places are read as they are meant
ALIKE = 1e-6  # difference of probabilities that count as equal

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]


def targets(told: Told, own: Classes, classes: int) -> Floats:
    """Return what n responses say of each class, as probabilities (n, classes); `own` (n,) is the class of each label.

    The last class stands for all labels that are not told apart. Of responses with several probabilities only those of the
    commonest width are read. A single probability is that of one of two labels, or the confidence in the label.
    """
    said = _alone(own, classes)
    single = np.flatnonzero(told.width == 1)
    if len(single):
        said[single] = _of_single(told.chance[single, 0].astype(np.float64), own[single], classes)
    several = told.width[told.width > 1]
    if len(several):
        rows = np.flatnonzero(told.width == np.bincount(several).argmax())
        said[rows] = _understood(_by_class(told.place[rows], told.chance[rows], own[rows], classes), own[rows])
    return np.asarray(said, np.float32)


def _alone(own: Classes, classes: int) -> Wide:
    """Return what labels alone say."""
    return np.asarray(np.eye(classes)[own], np.float64)


def _understood(said: Wide, own: Classes) -> Wide:
    """Return what was read from probabilities, and the label alone where that contradicts it; all labels where many do."""
    alone = _alone(own, said.shape[1])
    agrees = said[np.arange(len(own)), own] >= said.max(axis=1) - ALIKE
    return np.where(agrees[:, None], said, alone) if agrees.mean() >= TRUSTED else alone


def _of_single(chance: Wide, own: Classes, classes: int) -> Wide:
    """Return what single probabilities (n,) say."""
    high = chance >= 0.5  # the first of two classes, if it is that
    sides = [np.bincount(own[side], minlength=classes) for side in (high, ~high)]
    label = [int(side.argmax()) for side in sides]
    rows = np.arange(len(own))
    if sides[1].any() and label[0] != label[1] and sides[0][label[0]] + sides[1][label[1]] >= TRUSTED * len(own):
        said = np.zeros((len(own), classes))
        said[:, label[0]] = chance
        said[:, label[1]] = 1.0 - chance
        return _understood(said, own)
    known = classes - 1
    others = np.maximum(known - (own < known), 1)
    said = np.zeros((len(own), classes))
    said[:, :known] = ((1.0 - chance) / others)[:, None]
    said[rows, own] = chance
    believed = said[rows, own] >= said.max(axis=1) - ALIKE
    return np.where(believed[:, None], said, _alone(own, classes))


def _by_class(place: npt.NDArray[np.uint16], chance: Floats, own: Classes, classes: int) -> Wide:
    """Return probabilities by place, the largest ones of each response, by class.

    The label that stands most often beside a place that is largest belongs to it. What is said of places whose label never
    showed is shared by the labels that never showed.
    """
    rows = np.arange(len(own))
    shown, at = np.unique(place[rows, chance.argmax(axis=1)], return_inverse=True)
    pairs = np.zeros((len(shown), classes), np.int64)
    np.add.at(pairs, (at, own), 1)
    label = pairs.argmax(axis=1)
    found = np.minimum(np.searchsorted(shown, place), len(shown) - 1)
    row, column = np.nonzero(shown[found] == place)
    said = np.zeros((len(own), classes))
    np.add.at(said, (row, label[found[row, column]]), chance[row, column])
    rest = np.clip(1.0 - said.sum(axis=1), 0.0, None)
    hidden = np.setdiff1d(np.arange(classes - 1), label)
    if len(hidden):
        said[:, hidden] += (rest / len(hidden))[:, None]
    else:
        said[:, classes - 1] += rest
    return said

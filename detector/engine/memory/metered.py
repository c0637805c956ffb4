"""Metered: what is noted of each client for the odometer, and since which query the version of its model holds.

A copy learns from the responses of one model. So the meter begins anew, with its next reading, once the log tells another
version for `STEADY` queries of the client on end. Fewer do not count: a canary, or two versions side by side, would start it
anew for ever. Nor does the version before: whoever may choose the version would ask two in turn. A query
that tells no version changes nothing.

Blind to: a client that takes turns among more than `FORMER` + 1 versions.
"""

import zlib
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.kernels import kernel, part
from detector.engine.memory.admission import evaluation_after
from detector.engine.memory.reservoir import OUTDATED

STEADY = 16  # queries on end with another version
FORMER = 1  # versions that are known besides the present one; a client's row has no room for more
FIRST_READING = 32  # queries
GROWTH = 1.25  # factor from one reading to the next


def _readings() -> npt.NDArray[np.int64]:
    """Return the numbers of queries at which the odometer is read, all of them scheduled evaluations."""
    found: list[int] = []
    evaluation = int(evaluation_after(0))
    while not found or found[-1] < 2**32:
        if evaluation >= (GROWTH * found[-1] if found else FIRST_READING):
            found.append(evaluation)
        evaluation = int(evaluation_after(evaluation))
    return np.array(found, np.int64)


READINGS = _readings()


@kernel
def is_reading(queries):
    """Tell whether the odometer is read after so many queries; it costs more than the models, so not at every evaluation.

    >>> [is_reading(queries) for queries in (8, 32, 48, 64, 71, 87)]
    [False, True, True, True, False, True]
    """
    at = np.searchsorted(READINGS, queries)
    return at < READINGS.shape[0] and READINGS[at] == queries


class Metered(NamedTuple):
    """Per client: its highest reading, and the version of the model that it is about.

    The copy was `right` about so many reference inputs at the reading with this number, `read` (from 1 on; 0: none yet). `met`
    is the reading at which the client met its budget last, 0 where it did not.

    `version` is a hash of the version that was told last, 0 where none was; `away` counts the latest queries with another one.
    `former` (clients, FORMER) are the versions before it, 0 where there was none. `turn` counts those that were new, modulo
    256, and `read_turn` is the one that the reading is of.
    """

    right: Annotated[npt.NDArray[np.uint16], Column()]
    read: Annotated[npt.NDArray[np.uint8], Column(within=(0, len(READINGS)))]
    met: Annotated[npt.NDArray[np.uint8], Column(within=(0, len(READINGS)))]
    version: Annotated[npt.NDArray[np.uint16], Column()]
    former: Annotated[npt.NDArray[np.uint16], Column(FORMER)]
    away: Annotated[npt.NDArray[np.uint8], Column()]
    turn: Annotated[npt.NDArray[np.uint8], Column()]
    read_turn: Annotated[npt.NDArray[np.uint8], Column()]


def versions_of(versions: Sequence[str | None]) -> npt.NDArray[np.uint16]:
    """Return a number (n,) for each version, 0 for None; two versions have one number by chance alone, 1 in 65,535."""
    if len(versions) and versions.count(versions[0]) == len(versions):  # nearly always
        return np.full(len(versions), _number_of(versions[0]), np.uint16)
    numbers = {version: _number_of(version) for version in set(versions)}
    return np.array([numbers[version] for version in versions], np.uint16)


def _number_of(version: str | None) -> int:
    return 0 if version is None else zlib.crc32(version.encode(errors="surrogatepass")) % 65_535 + 1


@part
def follow_version(memory, metered, s, told):
    """Take in the version of the model that answered a query of client `s`; a new one makes older answers outdated."""
    if told == 0:
        return
    if metered.version[s] == 0:
        metered.version[s] = told
    if told == metered.version[s]:
        metered.away[s] = 0
        return
    metered.away[s] += 1
    if metered.away[s] < STEADY:
        return
    last = FORMER - 1
    known = False
    for k in range(FORMER):
        if metered.former[s, k] == told:
            last, known = k, True
    for k in range(last, 0, -1):
        metered.former[s, k] = metered.former[s, k - 1]
    metered.former[s, 0] = metered.version[s]
    metered.version[s] = told
    metered.away[s] = 0
    if known:
        return
    metered.turn[s] += 1
    for m in range(memory.held[s]):
        memory.mark[s, m] |= OUTDATED

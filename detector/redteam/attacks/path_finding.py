"""Path-finding: a decision tree gives itself away leaf by leaf, because each leaf answers with its own confidences."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.setting import Setting
from detector.redteam.space import Space

Identify = Literal["confidences", "labels"]


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One leaf: its answer, and the records that reach it.

    Ordered columns lie between `low` and `high`, codes are among `codes[column]`. Bounds are as tight as the search's
    tolerance, on the inside.
    """

    answer: Array
    low: Array
    high: Array
    codes: dict[int, tuple[float, ...]]


@attack(
    id="path_finding",
    title="Leaves of a decision tree",
    family="path-finding",
    source="Tramèr et al., USENIX Security 2016, section 4.2",
    data=("tabular",),
    needs="probabilities",
)
def path_finding(setting: Setting, *, tolerance: float = 0.01, identify: Identify = "confidences") -> Conversation:
    """Path-finding attack on decision trees (Tramèr et al., USENIX Security 2016, section 4.2, algorithm 1).

    From a random record, varies one column after another until the answer changes, so that the conditions of the leaf
    are known, and goes on from every record found in another leaf. Afterwards draws random records, in search of leaves
    that no path led to.

    A leaf is known by its confidences: leaves that answer alike are taken for one. ``identify="labels"`` works with
    labels alone, and takes all leaves of a label that touch for one, so that most of the tree stays hidden. On anything
    but a single tree nearly every answer differs and the search does not get beyond its first records. Needs no data
    (of `pool` only the dimension is read). Never ends.
    """
    rng, space = setting.rng, setting.space
    leaves: dict[bytes, Leaf] = {}
    while True:
        yield from find_leaves(space.draw(1, rng)[0], space, leaves, tolerance=tolerance, identify=identify)


attack(
    id="path_finding_labels",
    title="Leaves of a decision tree, by labels",
    family="path-finding",
    source="Tramèr et al., USENIX Security 2016, section 4.2",
    data=("tabular",),
)(partial(path_finding, identify="labels"))


def find_leaves(
    start: Array, space: Space, leaves: dict[bytes, Leaf], *, tolerance: float, identify: Identify = "confidences"
) -> Generator[AskedQuery, Answer, None]:
    """Add to `leaves` all that are reached from `start`; keys identify them. Line searches end at `tolerance` of a range."""
    waiting = deque([start])
    while waiting:
        record = waiting.popleft()
        answer = yield AskedQuery(record, synthetic=True)
        name = _name(answer, identify)
        if name in leaves:
            continue
        low, high = space.low.copy(), space.high.copy()
        codes: dict[int, tuple[float, ...]] = {}
        for column in range(space.dimension):
            if space.coded[column]:
                same = []
                for code in space.codes[column]:
                    other = _with(record, column, code)
                    if code == record[column] or (yield from _ask(other, identify)) == name:
                        same.append(float(code))
                    else:
                        waiting.append(other)
                codes[column] = tuple(same)
            elif space.high[column] > space.low[column]:
                for bound, end in ((low, space.low[column]), (high, space.high[column])):
                    bound[column] = yield from _edge(record, name, column, end, space, tolerance, identify, waiting)
        leaves[name] = Leaf(answer, low, high, codes)


def _edge(
    record: Array,
    name: bytes,
    column: int,
    end: float,
    space: Space,
    tolerance: float,
    identify: Identify,
    waiting: deque[Array],
) -> Generator[AskedQuery, Answer, float]:
    """How far the column can go towards `end` within the leaf; records of other leaves on the way are queued.

    As published, two ends that answer alike are taken to have nothing else between them.
    """
    least = max(tolerance * float(space.width[column]), 1.0 if space.whole[column] else 0.0)
    begin = float(record[column])
    if begin == end:
        return begin
    last = yield from _ask(_with(record, column, end), identify)
    if last == name:
        return end
    seen = {name: begin, last: end}
    brackets = [(begin, name, end, last)]
    edge = begin
    while brackets:
        a, name_a, b, name_b = brackets.pop()
        if name_a == name_b:
            edge = b if name_b == name and abs(b - begin) > abs(edge - begin) else edge
            continue
        if abs(b - a) <= least:
            edge = a if name_a == name and abs(a - begin) > abs(edge - begin) else edge
            continue
        middle = float(space.settle(_with(record, column, (a + b) / 2.0))[column])
        found = yield from _ask(_with(record, column, middle), identify)
        seen.setdefault(found, middle)
        brackets += [(a, name_a, middle, found), (middle, found, b, name_b)]
    waiting.extend(_with(record, column, value) for other, value in seen.items() if other != name)
    return edge


def _ask(record: Array, identify: Identify) -> Generator[AskedQuery, Answer, bytes]:
    answer = yield AskedQuery(record, synthetic=True)
    return _name(answer, identify)


def _name(answer: Answer, identify: Identify) -> bytes:
    return answer.tobytes() if identify == "confidences" else bytes(str(int(np.argmax(answer))), "ascii")


def _with(record: Array, column: int, value: float) -> Array:
    changed = record.copy()
    changed[column] = value
    return changed

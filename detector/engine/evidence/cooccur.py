"""Cooccur: values of a record that do not belong together, in more of its columns than one wrong value would explain.

A thief without the victim's data makes records up: a guess for each column, or the halves of two records joined. Each value is
usual; the combination is not. A *clash* is a pair of values, such as a married child, that the population shows together less
than a fifth as often as independence would. Each query is scored by how many disjoint pairs of columns clash. So one wrong
value makes at most one pair, however many other values it contradicts.

The baseline says what a count is worth. It compares how often the count occurs in benign records that the pair tables have not
seen, and in records with independent columns or with half of the columns from another record.

Not scored are edited records, which differ from an earlier one of the client in few columns, and mixed records, whose values
all come from two earlier ones, as an explainer's coalitions do (Lundberg and Lee, NeurIPS 2017). Versions of one record, such
as scenarios of a stress test, clash where it does: the first two count. A column has *drifted* when a
client's values in it no longer follow the population: other units, filled-in gaps, another market. Drifted columns are ignored,
at most a third of all; if half or more drifted, none is ignored. A single column with a part in nearly all clashes of a client
is ignored as well: it is filled in badly, or swapped for anonymity.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import Column
from detector.engine.evidence.channel import Channel, Weighed
from detector.engine.kernels import kernel

MOST = 3.5  # logarithm of the largest likelihood ratio of one query
LEAST = -2.0
CHANNEL = Channel(
    name="cooccur",
    kind="novelty",
    floor=24.0,
    opening_floor=16.0,
    ratio=Weighed(most=MOST, least=LEAST, carriers="made-up records"),
    title="Records that were made up",
    description="Records combine values that the population never shows together.",
    meaning="records combine values that the population never shows together, as records put together column by column do",
    lookalike="an explainer that draws columns independently and records with columns swapped for anonymity do the same",
    innocent=(
        "An explainer that draws columns independently makes up records just so, and records of which several columns are "
        "swapped for anonymity are no different, so this is novelty."
    ),
    blind_to=(
        "Tables whose columns are nearly independent, natural records however chosen, and generators that have learned the "
        "dependences. Silent without a baseline, on pictures, and where too few different benign records or columns are "
        "known."
    ),
)

COLUMNS = 16
BINS = 12
COUNTS = 5  # classes of a count of clashes: 0, 1, 2, 3, and 4 or more
CLASH = -1.5  # largest logarithm of how often two clashing values occur together, relative to independence
KEPT = 22  # earlier records that are kept of a client
LEFT = 0.12  # total variation distance from the population, beyond chance, from which a column counts as drifted
EVERY = 8  # records between two checks for drifted columns, after the first 16
LEAST_BLAME = 6  # least number of clashes before a single column can be to blame for them
ODD = 0.05  # excess share of clashes of the column to blame, over the most frequent one in made-up records and over chance
LOWEST = np.uint64(0x1111111111111111)  # the lowest of the four bits of each column of a word
LOWER = np.uint64(0x0101010101010101)  # the lowest bit of each pair of columns


class Together(NamedTuple):
    """Per client: earlier records, one word each, and the statistics of its columns.

    A word holds four bits a column: the code of a category, or a hash of a number. `stored` counts the records. `seen` is how
    often each bin of a column occurred, and `blame` how many clashes each column had a part in. `left` is the mask of the
    drifted columns, `spared` that of the one column to blame.
    """

    word: Annotated[npt.NDArray[np.uint64], Column(KEPT)]
    stored: Annotated[npt.NDArray[np.uint32], Column()]
    seen: Annotated[npt.NDArray[np.uint8], Column(COLUMNS, BINS)]
    blame: Annotated[npt.NDArray[np.uint8], Column(COLUMNS)]
    left: Annotated[npt.NDArray[np.uint16], Column()]
    spared: Annotated[npt.NDArray[np.uint16], Column()]


@kernel
def bin_of(value, coded, edges):
    """Return the bin of a value by the codes or the ascending bounds of its column, `edges` (BINS - 1,); see `bin_record`."""
    place = 0
    if coded:
        while place < BINS - 1 and edges[place] != value:
            place += 1
    else:
        for b in range(BINS - 1):  # no branch depends on the value
            place += int(value > edges[b])
    return place


@kernel
def bin_record(record, columns, coded, edges, bins):
    """Write the bin of each of the chosen `columns` of a record into `bins`, and return the record's word.

    `edges` (columns, BINS - 1) are the codes of a categorical column, commonest first, or the ascending bounds of a numeric
    one, both padded with infinity. Unknown codes fall into the last bin.
    """
    word = np.uint64(0)
    for j in range(columns.shape[0]):
        value = record[columns[j]]
        place = bin_of(value, coded[j], edges[j])
        if coded[j]:
            part = np.uint64(place)
        else:
            scaled = min(max(np.rint(np.float64(value) * 1024.0), -9e18), 9e18)
            part = (np.uint64(np.int64(scaled)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(60)
        bins[j] = place
        word |= part << np.uint64(4 * j)
    return word


@kernel
def differing(one, other):
    """Return one bit, the lowest of its four, for each column in which two words differ."""
    apart = one ^ other
    apart |= apart >> np.uint64(1)
    apart |= apart >> np.uint64(2)
    return apart & LOWEST


@kernel
def columns_of(apart):
    """Return how many columns differ, from `differing`: the sums of pairs of columns fit into eight bits each."""
    pairs = (apart & LOWER) + ((apart >> np.uint64(4)) & LOWER)
    return np.int64((pairs * LOWER) >> np.uint64(56))


@kernel
def is_edited(words, held, word, edited, apart):
    """Tell whether a record is an edited copy of one of `held` earlier ones: at most `edited` columns differ.

    Always False where `edited` is -1. `apart` (held,) receives the columns in which the record differs from each earlier one,
    as far as the search goes.
    """
    for m in range(held):
        apart[m] = differing(words[m], word)
        if columns_of(apart[m]) <= edited:
            return True
    return False


@kernel
def is_mixed(apart, held):
    """Tell whether each value of a record is that of one of two earlier ones, from `apart` of `is_edited`."""
    for m in range(held):
        for k in range(m):
            if apart[m] & apart[k] == np.uint64(0):
                return True
    return False


@kernel
def count_clashes(bins, pairs, table, excused, level, blamed):
    """Return how many disjoint pairs of columns clash, the worst pair first, and count their columns in `blamed`.

    `pairs` (p, 2) are places in `bins`. `table` (p, BINS, BINS) are the logarithms of how often two bins occur together,
    relative to independence. Columns in the mask `excused` are ignored. `level` (p,) is scratch.
    """
    found = 0
    for p in range(pairs.shape[0]):
        level[p] = table[p, bins[pairs[p, 0]], bins[pairs[p, 1]]]
        found += level[p] < CLASH
    if found == 0:
        return 0
    taken = np.int64(excused)
    count = 0
    while True:
        worst = -1
        lowest = np.float32(CLASH)
        for p in range(pairs.shape[0]):
            if level[p] < lowest and not (taken >> pairs[p, 0]) & 1 and not (taken >> pairs[p, 1]) & 1:
                worst = p
                lowest = level[p]
        if worst < 0:
            return count
        for side in range(2):
            taken |= 1 << pairs[worst, side]
            blamed[pairs[worst, side]] += 1
        count += 1


@kernel
def departed(seen, share, distance):
    """Return the mask of the drifted columns to ignore: at most a third of all, and none if half or more drifted.

    `seen` (columns, BINS) are a client's counts and `share` (columns, BINS) the population's shares; `distance` is scratch.
    """
    columns = share.shape[0]
    gone = 0
    for j in range(columns):
        n = np.int64(0)
        for b in range(BINS):
            n += np.int64(seen[j, b])
        distance[j] = 0.0
        if n == 0:
            continue
        apart = 0.0
        chance = 0.0
        for b in range(BINS):
            p = np.float64(share[j, b])
            apart += abs(seen[j, b] / n - p)
            chance += np.sqrt(p * (1.0 - p))
        # The mean distance of a sample of n from its own population, by the normal approximation.
        distance[j] = 0.5 * apart - 0.4 * chance / np.sqrt(n)
        gone += distance[j] > LEFT
    mask = 0
    if 2 * gone >= columns:
        return mask
    for _ in range(min(gone, columns // 3)):
        farthest = 0
        for j in range(1, columns):
            if distance[j] > distance[farthest]:
                farthest = j
        mask |= 1 << farthest
        distance[farthest] = 0.0
    return mask


@kernel
def to_blame(blame, usual):
    """Return the mask of the one column with a part in nearly all of a client's clashes, or 0 if there is none.

    `blame` (columns,) counts the clashes of each column. `usual` is the share of the most frequent one in made-up records.
    """
    total = np.int64(0)
    first = 0
    for j in range(blame.shape[0]):
        total += np.int64(blame[j])
        if blame[j] > blame[first]:
            first = j
    n = total / 2.0
    if n < LEAST_BLAME or blame[first] / n < usual + ODD + 1.25 / np.sqrt(n):
        return 0
    return 1 << first


@kernel
def keep(state, s, word, bins, columns):
    """Store a record of the client at row `s`: in a free place, or else in a place that the record's hash chooses."""
    n = np.int64(state.stored[s])
    at = n
    if n >= KEPT:
        mixed = (word + np.uint64(n)) * np.uint64(0x9E3779B97F4A7C15)
        at = np.int64((mixed >> np.uint64(33)) % np.uint64(KEPT))
    state.word[s, at] = word
    state.stored[s] = n + 1
    for j in range(columns):
        if state.seen[s, j, bins[j]] == 255:
            for b in range(BINS):
                state.seen[s, j, b] //= 2
        state.seen[s, j, bins[j]] += 1


@kernel
def update_together(
    state,
    slot,
    vector,
    verdict,
    repeat,
    crowded,
    columns,
    coded,
    edges,
    share,
    pairs,
    table,
    worth,
    edited,
    mixes,
    usual,
    ratio,
):
    """Write the likelihood ratio of each event into `ratio` (events,), in stream order; unscored events keep their value.

    `crowded` (events,) marks versions of what the client asked about twice before: they clash where that does, which is no
    news. The arguments from `columns` to `usual` are those of a model's co-occurrence (see `engine.models.cooccurrence`).
    """
    width = columns.shape[0]
    bins = np.zeros(COLUMNS, np.int64)
    blamed = np.zeros(COLUMNS, np.int64)
    level = np.empty(pairs.shape[0], np.float32)
    apart = np.empty(KEPT, np.uint64)
    distance = np.empty(COLUMNS)
    for i in range(slot.shape[0]):
        if verdict[i] != 0 or repeat[i]:
            continue
        s = slot[i]
        word = bin_record(vector[i], columns, coded, edges, bins)
        held = min(np.int64(state.stored[s]), KEPT)
        if is_edited(state.word[s], held, word, edited, apart):
            continue
        blamed[:] = 0
        count = count_clashes(bins, pairs, table, state.left[s] | state.spared[s], level, blamed)
        if count > 0 and (crowded[i] or (mixes and is_mixed(apart, held))):
            continue
        ratio[i] = worth[min(count, COUNTS - 1)]
        keep(state, s, word, bins, width)
        n = state.stored[s]
        if n <= 2 * EVERY or n % EVERY == 0:
            state.left[s] = departed(state.seen[s], share, distance)
        if count > 0 and state.spared[s] == 0:
            for j in range(width):
                state.blame[s, j] += blamed[j]
            if state.blame[s].max() == 255:
                for j in range(width):
                    state.blame[s, j] //= 2
            state.spared[s] = to_blame(state.blame[s], usual)

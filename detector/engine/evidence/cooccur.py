"""Cooccur: values of a record that do not belong together, in more of its columns than one wrong value would explain.

A thief without the victim's data makes records up: column by column from a guess of each, or by exchanging halves of records
that he has. Every value is usual, their combination is not. A married child is one *clash*: two values that the population
shows together less than a fifth as often as independence would. What is counted per query is how many disjoint pairs of
columns clash, so a wrong value makes one pair at most, however many others it contradicts.

What a count is worth comes from the baseline: how often benign records that the pair tables have not seen show it, against
records whose columns are drawn from the population independently or half of them from another record.

Not scored: a record that differs from an earlier one of the client in a few columns only is that one, edited; a clash in a
record whose values all come from two earlier ones is an explainer's coalition (Lundberg and Lee, NeurIPS 2017). Columns whose
values have left the population's are left out, up to a third of them, for a client with other units, filled-in gaps or another
market is no thief; if half of the columns have left, nothing is excused. So is the one column that nearly all clashes of a
client are due to: it is filled in badly, or swapped for anonymity.
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
COUNTS = 5  # 0 to 3 clashes, and more
CLASH = -1.5  # logarithm of how often two values are seen together, relative to independence
KEPT = 22  # earlier records of a client
LEFT = 0.12  # distance in total variation from the population, beyond chance, at which a column has left it
EVERY = 8  # records between two checks of which columns have left, after the first 16
LEAST_BLAME = 6  # clashes, before one column can be to blame for them
ODD = 0.05  # share of the clashes beyond that of the first column in made-up records, and beyond chance
LOWEST = np.uint64(0x1111111111111111)  # bit of each column of a word


class Together(NamedTuple):
    """Per client: earlier records, one word each, and what there is to say about its columns.

    A word holds four bits a column: the code of a category, or a hash of a number. `stored` counts the records; `seen` is how
    often each bin of a column came, `blame` how many clashes each column had a part in; `left` and `spared` are masks of the
    columns that left the population and of the one that is to blame.
    """

    word: Annotated[npt.NDArray[np.uint64], Column(KEPT)]
    stored: Annotated[npt.NDArray[np.uint32], Column()]
    seen: Annotated[npt.NDArray[np.uint8], Column(COLUMNS, BINS)]
    blame: Annotated[npt.NDArray[np.uint8], Column(COLUMNS)]
    left: Annotated[npt.NDArray[np.uint16], Column()]
    spared: Annotated[npt.NDArray[np.uint16], Column()]


@kernel
def bin_record(record, columns, coded, edges, bins):
    """Write the bin of each of the chosen `columns` of a record into `bins`, and return the record's word.

    `edges` (columns, BINS - 1) are the codes of a categorical column, commonest first, or the ascending bounds of a numeric
    one; both padded with infinity. A code that is not known is in the last bin.
    """
    word = np.uint64(0)
    for j in range(columns.shape[0]):
        value = record[columns[j]]
        place = 0
        if coded[j]:
            while place < BINS - 1 and edges[j, place] != value:
                place += 1
            part = np.uint64(place)
        else:
            while place < BINS - 1 and value > edges[j, place]:
                place += 1
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
def is_edited(words, held, word, edited, apart):
    """Tell whether a record is one of `held` earlier ones, edited: up to `edited` columns differ; never where that is -1.

    `apart` (held,) is filled as far as the search goes: in which columns the record differs from each.
    """
    for m in range(held):
        apart[m] = differing(words[m], word)
        rest = apart[m]
        columns = 0
        while rest != np.uint64(0) and columns <= edited:
            rest &= rest - np.uint64(1)
            columns += 1
        if columns <= edited:
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

    `pairs` (p, 2) are places in `bins`, `table` (p, BINS, BINS) logarithms of how often two bins are seen together, relative to
    independence; columns in the mask `excused` are left out; `level` (p,) is scratch.
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
    """Return the mask of columns that have left the population: a third of all at most, none where half of them have.

    `seen` (columns, BINS) are a client's counts and `share` (columns, BINS) the population's; `distance` is scratch.
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
        # A sample of n is so far from its own population on average, by the normal approximation.
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
    """Return the mask of the one column that a client's clashes are due to, or 0 if they are due to several.

    `blame` (columns,) counts the clashes of each; `usual` is the share that the first of them has in made-up records.
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
    """Store a record of the client at row `s`: in a free place, or in one that the record itself decides."""
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
    state, slot, vector, verdict, repeat, columns, coded, edges, share, pairs, table, worth, edited, mixes, usual, ratio
):
    """Write the likelihood ratio of each event into `ratio` (events,), in stream order; what is not scored is left alone.

    From `columns` to `usual` the arguments are those of a model's co-occurrence: `engine.models.cooccurrence` says what.
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
        if count > 0 and mixes and is_mixed(apart, held):
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

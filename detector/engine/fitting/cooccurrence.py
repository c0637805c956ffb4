"""Fitting co-occurrence: which values of a table's columns the population shows together.

It is fitted on the different records of benign clients. Edited and mixed copies of a client's earlier records are left out: a
slider that runs through its range shows what somebody tried, not what occurs. Numbers are put into bins of equal size. A pair
of columns is kept when records with independent columns would often clash in it. The smoothed ratio of a pair of values is (n +
1) / (N p q + 1), so a pair that is expected hardly ever does not clash when it is absent.

A count of clashes is worth a likelihood ratio. The numerator comes from made-up records: one half has independent columns, the
other half has half of its columns from another record. The denominator comes from benign records under tables that have not
seen their client (four folds of clients), since the readings of one sensor resemble each other. For each count it takes the
share of the clients that reach it most often, not the share over all clients. Otherwise a benign client with many odd records
would gather evidence without end.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from detector.engine.columns import allocate
from detector.engine.evidence.cooccur import (
    BINS,
    CLASH,
    COLUMNS,
    COUNTS,
    KEPT,
    LEAST,
    MOST,
    Together,
    bin_record,
    count_clashes,
    is_edited,
    is_mixed,
    keep,
)
from detector.engine.evidence.drawn import MOST_COLUMNS
from detector.engine.fitting.stray import LEAST_CLIENTS, ODD
from detector.engine.kernels import kernel
from detector.engine.models.cooccurrence import Cooccurrence, Flags, Floats, nothing_known

LEAST_RECORDS = 500
LEAST_COLUMNS = 3
LEAST_ASKED = 8  # records of a client that say what its records are worth
NUMERIC_BINS = 8
MOST_EDITED = 3
PAIRS = 64
WORTH_A_PAIR = 0.005  # least share of independent records that clash in a pair of columns that is kept
MADE = 2000  # made-up records of each of the two kinds
FOLDS = 4
BY_CHANCE = 0.1  # largest share of independent records that may look edited, and that may look mixed
SHRINK = 20.0  # weight of the whole population's share beside a client's own, in records
UPPER = 0.98
ALIKE = 0.8  # a benign client with more than this share of the made-up records' clashes does not differ from them
LEAST_POWER = 0.05  # least mean logarithm of the ratio over made-up records; below it they hardly differ from benign ones

Places = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Sums = npt.NDArray[np.float64]
Binning = tuple[npt.NDArray[np.int32], Flags, Floats]  # raw columns, whether they hold codes, edges of the bins


def fit_cooccurrence(vectors: Floats, categorical: Sequence[int], clients: Sequence[str], *, seed: int) -> Cooccurrence:
    """Learn from benign records (n, dimension) which values belong together; `clients` (n,) says whose each is.

    Of more than 64 columns that vary, `seed` draws 64. The 16 of them in which made-up records clash most are used. Returns
    `nothing_known()` for fewer than 500 different records or 3 such columns, or if made-up records hardly differ.
    """
    rng = np.random.default_rng(seed)
    distinct = np.unique(vectors, axis=0, return_index=True)[1]
    if len(distinct) < LEAST_RECORDS:
        return nothing_known()
    binning = _most_telling(vectors[distinct], binning_of(vectors[distinct], frozenset(categorical), rng))
    columns, coded, edges = binning
    width = len(columns)
    if width < LEAST_COLUMNS:
        return nothing_known()
    bins, words = binned(vectors, binning)
    made, made_words = binned(_made_up(vectors[distinct], columns, rng), binning)
    edited, mixes = _exemptions(made_words[:MADE], rng.permutation(words[distinct]), width)
    owner = np.unique(np.asarray(clients), return_inverse=True)[1]
    asked = _asked(words, bins, owner, edited, mixes=mixes)
    # Clients may ask about the same records. Each counts once; otherwise frequent records would dominate the tables.
    record = np.zeros(len(asked), np.int64)
    known = np.zeros(len(asked), np.int64)
    find_records(words[asked], _closest(made_words[:MADE:10], words[asked], edited), known, record)
    known = known[: int(record.max()) + 1]
    known_bins = bins[asked[known]]
    if len(known) < LEAST_RECORDS:
        return nothing_known()
    counts = _counts(known_bins)
    pairs = _pairs(counts, width)
    if len(pairs) == 0:
        return nothing_known()
    fold = rng.permutation(int(owner.max()) + 1)[owner[asked[known]]] % FOLDS
    found = np.zeros(len(asked), np.int64)
    for part in range(FOLDS):
        unseen = fold[record] == part
        seen = _tables(counts - _counts(known_bins[fold == part]), pairs)
        found[unseen], _ = _clashes(bins[asked[unseen]], pairs, seen)
    table = _tables(counts, pairs)
    made_found, blamed = _clashes(made, pairs, table)
    worth = _worth(made_found, found, owner[asked])
    if worth is None:
        return nothing_known()
    share = np.stack([np.bincount(bins[asked, j], minlength=BINS) for j in range(width)]) / len(asked)
    usual = float(blamed.max() / max(0.5 * blamed.sum(), 1.0))
    return Cooccurrence(columns, coded, edges, share.astype(np.float32), pairs, table, worth, edited, mixes, usual)


def fair_to(known: Cooccurrence, vectors: Floats, clients: Sequence[str]) -> Cooccurrence:
    """Return the model with its ratios lowered until hardly a client's records (n, dimension) are worth more than 1 on average.

    For clients that did not teach it. Teachers who ask about the same records as others make these look usual.
    """
    if known.silent or len(vectors) == 0:
        return known
    bins, words = binned(np.ascontiguousarray(vectors, np.float32), (known.columns, known.coded, known.edges))
    owner = np.unique(np.asarray(clients), return_inverse=True)[1]
    asked = _asked(words, bins, owner, known.edited, mixes=known.mixes)
    found, _ = _clashes(bins[asked], known.pairs, known.table)
    worth = known.worth[np.minimum(found, COUNTS - 1)].astype(np.float64)
    counts = np.bincount(owner[asked])
    some = counts >= LEAST_ASKED
    if np.count_nonzero(some) < LEAST_CLIENTS:
        return known
    # A few records say little about a client, as one with many clashes is worth a lot.
    sums = np.bincount(owner[asked], weights=worth)[some] + SHRINK * worth.mean()
    means = np.sort(sums / (counts[some] + SHRINK))
    most = float(means[-1 - max(round(ODD * len(means)), 1)])
    return replace(known, worth=(known.worth / max(most, 1.0)).astype(np.float32))


@kernel
def bin_records(vectors, columns, coded, edges, bins, words):
    """Fill `bins` (n, columns) and `words` (n,) of the records `vectors`."""
    for i in range(vectors.shape[0]):
        words[i] = bin_record(vectors[i], columns, coded, edges, bins[i])


@kernel
def find_asked(state, words, bins, edited, mixes, asked):
    """Tell which records of one client are neither edited nor mixed from its earlier ones; `state` has one empty row."""
    apart = np.empty(KEPT, np.uint64)
    for i in range(words.shape[0]):
        held = min(np.int64(state.stored[0]), KEPT)
        known = is_edited(state.word[0], held, words[i], edited, apart)
        asked[i] = not known and not (mixes and is_mixed(apart, held))
        if asked[i]:
            keep(state, 0, words[i], bins[i], bins.shape[1])


@kernel
def find_records(words, edited, known, record):
    """Number the different records among `words` (n,): `record` (n,) are the numbers, `known` the place of each first one."""
    apart = np.empty(1, np.uint64)
    one = np.int64(1)  # a literal has its own type, for which `is_edited` would be compiled again
    count = 0
    for i in range(words.shape[0]):
        record[i] = -1
        for m in range(count):
            if words[known[m]] == words[i] or is_edited(words[known[m] : known[m] + 1], one, words[i], edited, apart):
                record[i] = m
                break
        if record[i] < 0:
            known[count] = i
            record[i] = count
            count += 1


@kernel
def closest_by_chance(words, others, edited):
    """Return the share of `words` that look edited from any of the unrelated `others`."""
    apart = np.empty(others.shape[0], np.uint64)
    found = 0
    for i in range(words.shape[0]):
        found += is_edited(others, others.shape[0], words[i], edited, apart)
    return found / words.shape[0]


@kernel
def count_all(bins, pairs, table, counts, blamed):
    """Fill `counts` (n,) with the clashes of each record, and add those of each column to `blamed`."""
    level = np.empty(pairs.shape[0], np.float32)
    for i in range(bins.shape[0]):
        counts[i] = count_clashes(bins[i], pairs, table, 0, level, blamed)


@kernel
def excused_by_chance(words, others, edited, mixes):
    """Return the share of `words` that look edited from KEPT of the unrelated `others`, or mixed from them if `mixes`."""
    apart = np.empty(KEPT, np.uint64)
    held = np.int64(KEPT)
    found = 0
    for i in range(words.shape[0]):
        start = (i * KEPT) % (others.shape[0] - KEPT)
        found += is_edited(others[start : start + KEPT], held, words[i], edited, apart) or (mixes and is_mixed(apart, held))
    return found / words.shape[0]


def binning_of(records: Floats, categorical: frozenset[int], rng: np.random.Generator) -> Binning:
    """Return the binning of the columns with two bins or more, at most `MOST_COLUMNS` of them."""
    columns: list[int] = []
    coded: list[bool] = []
    edges: list[Floats] = []
    for column in rng.permutation(records.shape[1]).tolist():
        values, counts = np.unique(records[:, column], return_counts=True)
        if column in categorical:
            bounds = values[np.argsort(-counts, kind="stable")][: BINS - 1]
        elif len(values) <= NUMERIC_BINS:
            bounds = values[:-1]
        else:
            bounds = np.unique(np.quantile(records[:, column], np.arange(1, NUMERIC_BINS) / NUMERIC_BINS, method="lower"))
            bounds = bounds[bounds < values[-1]]
        if len(values) > 1 and len(bounds) and len(columns) < MOST_COLUMNS:
            columns.append(column)
            coded.append(column in categorical)
            edges.append(np.pad(bounds.astype(np.float32), (0, BINS - 1 - len(bounds)), constant_values=np.inf))
    order = np.argsort(columns, kind="stable")
    return (
        np.array(columns, np.int32)[order],
        np.array(coded, np.bool_)[order],
        np.array(edges, np.float32).reshape(-1, BINS - 1)[order],
    )


def _most_telling(records: Floats, binning: Binning) -> Binning:
    """Return the `COLUMNS` of these columns in which independent records clash most."""
    columns, coded, edges = binning
    if len(columns) <= COLUMNS:
        return binning
    bins, _ = binned(records, binning)
    clashing = _clash_share(_counts(bins), len(columns))
    best = np.sort(np.argsort(-clashing.sum(axis=1), kind="stable")[:COLUMNS])
    return columns[best], coded[best], edges[best]


def binned(records: Floats, binning: Binning) -> tuple[Places, Words]:
    """Return bins (n, columns) and words (n,); the words are valid for up to `COLUMNS` columns only."""
    bins, words = np.zeros((len(records), len(binning[0])), np.int64), np.zeros(len(records), np.uint64)
    bin_records(records, *binning, bins, words)
    return bins, words


def _made_up(records: Floats, columns: npt.NDArray[np.int32], rng: np.random.Generator) -> Floats:
    """Return records with independent columns, and as many with half their columns from another record."""
    n, width = len(records), len(columns)
    independent = rng.integers(n, size=(MADE, width))
    one, other = rng.integers(n, size=(2, MADE, 1))
    half = rng.permuted(np.tile(np.arange(width) < width // 2, (MADE, 1)), axis=1)
    made = np.zeros((2 * MADE, records.shape[1]), np.float32)
    made[:, columns] = records[np.concatenate([independent, np.where(half, one, other)]), columns]
    return made


def _exemptions(made: Words, known: Words, width: int) -> tuple[int, bool]:
    """Return in how many columns edited records may differ, and whether mixed records can be told from chance."""
    edited = min(MOST_EDITED, width // 4)
    while edited >= 0 and excused_by_chance(made, known, edited, mixes=False) > BY_CHANCE:
        edited -= 1
    return edited, bool(excused_by_chance(made, known, edited, mixes=True) <= 2 * BY_CHANCE)


def _closest(made: Words, known: Words, edited: int) -> int:
    """Return in how many columns an edited record may differ, such that few made-up records look like edited `known` ones."""
    while edited >= 0 and closest_by_chance(made, known, edited) > BY_CHANCE:
        edited -= 1
    return edited


def _asked(words: Words, bins: Places, owner: npt.NDArray[np.integer], edited: int, *, mixes: bool) -> npt.NDArray[np.intp]:
    """Return the places of the records that are neither edited nor mixed from earlier ones of the same client."""
    asked = np.zeros(len(words), np.bool_)
    for client in range(int(owner.max()) + 1):
        own = np.flatnonzero(owner == client)
        found = np.zeros(len(own), np.bool_)
        nothing = allocate(Together, 1)
        find_asked(nothing, words[own], bins[own], edited, mixes, found)
        asked[own] = found
    return np.flatnonzero(asked)


def _counts(bins: Places) -> Sums:
    """Return how often each two bins are seen together, (columns * BINS, columns * BINS)."""
    n, width = bins.shape
    marked = np.zeros((n, width * BINS), np.float32)
    marked[np.arange(n)[:, None], bins + BINS * np.arange(width)] = 1.0
    return (marked.T @ marked).astype(np.float64)


def _expected(counts: Sums) -> Sums:
    """Return how often each two bins would be seen together if columns were independent."""
    single = np.diag(counts)
    return np.outer(single, single) / max(float(single[:BINS].sum()), 1.0)


def _ratios(counts: Sums) -> Sums:
    ratios: Sums = np.log((counts + 1.0) / (_expected(counts) + 1.0))
    return ratios


def _clash_share(counts: Sums, width: int) -> Sums:
    """Return the share of independent records that clash in each pair of columns, (columns, columns)."""
    total = max(float(np.diag(counts)[:BINS].sum()), 1.0)
    clashing = np.where(_ratios(counts) < CLASH, _expected(counts) / total, 0.0)
    share: Sums = clashing.reshape(width, BINS, width, BINS).sum(axis=(1, 3))
    np.fill_diagonal(share, 0.0)
    return share


def _pairs(counts: Sums, width: int) -> npt.NDArray[np.int32]:
    """Return the pairs of columns (p, 2) in which independent records clash most."""
    share = np.triu(_clash_share(counts, width)).ravel()
    best = np.argsort(-share, kind="stable")[:PAIRS]
    return np.stack(np.divmod(best[share[best] >= WORTH_A_PAIR], width), axis=1).astype(np.int32)


def _tables(counts: Sums, pairs: npt.NDArray[np.int32]) -> Floats:
    """Return the ratios of each pair of columns, (p, BINS, BINS)."""
    blocks = _ratios(counts).reshape(len(counts) // BINS, BINS, -1, BINS)
    return np.ascontiguousarray(blocks[pairs[:, 0], :, pairs[:, 1], :], np.float32)


def _clashes(bins: Places, pairs: npt.NDArray[np.int32], table: Floats) -> tuple[Places, Places]:
    """Return the clashes (n,) of each record, and how many each column had a part in."""
    counts, blamed = np.zeros(len(bins), np.int64), np.zeros(bins.shape[1], np.int64)
    count_all(bins, pairs, table, counts, blamed)
    return counts, blamed


def _worth(made: Places, found: Places, owner: npt.NDArray[np.integer]) -> Floats | None:
    """Return the likelihood ratio of each count, which never falls with the count; None where made-up records hardly differ.

    They also hardly differ where each benign client clashes with what the others ask, as sensors in different states do.

    `made` are the counts of made-up records, and `found` (n,) those of benign records of the clients `owner` (n,).
    """
    made, found = np.minimum(made, COUNTS - 1), np.minimum(found, COUNTS - 1)
    numerator = np.bincount(made, minlength=COUNTS) / len(made)
    asked = np.bincount(owner)
    some = asked > 0
    reach = np.zeros(COUNTS + 1)  # share of records with so many clashes or more
    reach[0] = 1.0
    for k in range(1, COUNTS):
        hits = np.bincount(owner, weights=found >= k, minlength=len(asked))
        shares = (hits[some] + SHRINK * float(np.mean(found >= k))) / (asked[some] + SHRINK)
        reach[k] = min(reach[k - 1], max(float(np.quantile(shares, UPPER)), 1.0 / len(found)))
    if reach[1] > ALIKE * (1.0 - numerator[0]):
        return None
    denominator = reach[:-1] - reach[1:]
    ratio = np.maximum.accumulate((numerator + 1e-3) / (denominator + 1e-3))
    worth = np.exp(np.clip(np.log(ratio), LEAST, MOST))
    # A likelihood ratio has a mean of at most 1 over the denominator; raised to be monotone, these may have more.
    worth /= max(float(denominator @ worth), 1.0)
    return worth.astype(np.float32) if float(numerator @ np.log(worth)) >= LEAST_POWER else None

"""The survey: one pass over a log, with a meter for each client and each organisation.

An organisation is measured as one client that asked all that its members asked.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.baseline.store import Baseline
from detector.engine.models.reference import Reference
from detector.engine.odometer.meter import Meter
from detector.engine.odometer.reading import Reading
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.told import WIDEST, Told, told_of
from detector.ingest.batch import Batch

CLIENT, ORGANIZATION = "client", "organization"
MOST_METERS = 100_000  # of a model; each takes up to 45 kB
MOST_UNKNOWN = 0.2  # share of the labels told that the baseline need not know


@dataclass(frozen=True, slots=True)
class Holding:
    """What one client or organisation holds of one model.

    `reading` is the one with the highest lead, None with too few queries for any: what was learned once is not lost when the
    next queries teach nothing. `reached` says for each budget after how many queries a scheduled evaluation first showed that
    much of the lead, None where none did.
    """

    kind: str
    id: str
    queries: int
    reading: Reading | None
    reached: Mapping[float, int | None]


@dataclass(frozen=True, slots=True)
class Fleet:
    """All holdings of one model, the largest lead first; `guess` is the agreement of whoever asked nothing.

    `unmeasured` queries could not be reduced: their inputs have another length, or lack values where none can be missing. So
    many clients and organisations are `given_up`: others were seen later, and there is no room for more. They keep what they
    showed until then. `unknown_labels` is the share of what clients were told, in the mean of all clients, whose label the
    baseline does not know.
    """

    model: str
    guess: float
    reference_inputs: int
    unmeasured: int
    given_up: int
    unknown_labels: float
    holdings: tuple[Holding, ...]

    def of(self, kind: str) -> list[Holding]:
        """Return the holdings of clients, or of organisations."""
        return [holding for holding in self.holdings if holding.kind == kind]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The fleets of the models that can be measured, and the models that cannot, with the reason."""

    fleets: tuple[Fleet, ...]
    silent: Mapping[str, str]


class _Metered:
    """One client or organisation; its meter is None once it is given up."""

    __slots__ = ("meter", "queries", "reached", "reading", "unknown")

    def __init__(self, meter: Meter) -> None:
        self.meter: Meter | None = meter
        self.queries = 0
        self.unknown = 0  # responses whose label the baseline does not know
        self.reading: Reading | None = None
        self.reached: tuple[int, ...] = ()  # for the lowest budgets, as many as were reached

    def add(self, told: Told, unknown: int, budgets: Sequence[float]) -> None:
        self.queries += len(told.label)
        self.unknown += unknown
        for reading in self.meter.add(told) if self.meter is not None else ():
            if self.reading is None or reading.lead > self.reading.lead:
                self.reading = reading
                met = sum(reading.lead >= budget for budget in budgets)
                self.reached += (reading.queries,) * (met - len(self.reached))

    def of(self, kind: str, name: str, budgets: Sequence[float]) -> Holding:
        reached: list[int | None] = [*self.reached, *[None] * len(budgets)]
        return Holding(kind, name, self.queries, self.reading, dict(zip(budgets, reached, strict=False)))


@dataclass(slots=True)
class _Model:
    """What was seen of one model; `metered` are those that have a meter, the one seen last at the end."""

    reference: Reference
    judge: ReferenceSet
    metered: dict[tuple[str, str], _Metered] = field(default_factory=dict)
    given_up: dict[tuple[str, str], _Metered] = field(default_factory=dict)
    unmeasured: int = 0

    def unknown_labels(self) -> float | None:
        """Return the mean share of unknown labels, None without clients.

        Every client counts as one, so that nobody silences the model alone.
        """
        met = [*self.metered.items(), *self.given_up.items()]
        shares = [held.unknown / held.queries for (kind, _), held in met if kind == CLIENT]
        return sum(shares) / len(shares) if shares else None


def survey(batches: Iterable[Batch], baseline: Baseline, budgets: Sequence[float], most: int = MOST_METERS) -> Surveyed:
    """Measure every client and organisation in `batches`, which must hold what clients were told (`Batch.told`).

    At most so many of a model have a meter at a time; whoever was seen longest ago is given up first.
    """
    budgets = sorted(budgets)
    models: dict[str, _Model] = {}
    silent: dict[str, str] = {}
    for batch in batches:
        known = baseline.models.get(batch.model)
        if known is None:
            silent[batch.model] = "the baseline does not know this model"
        elif known.reference_set is None:
            silent[batch.model] = (
                "its baseline has no reference inputs: it is of an older version, or its log had too few queries, a single "
                "label, or too many labels; fit it again"
            )
        else:
            model = models.setdefault(batch.model, _Model(known.reference, known.reference_set))
            _measure(model, batch, baseline.seed, budgets, most)
    fleets = []
    for name, model in sorted(models.items()):
        unknown = model.unknown_labels()
        if unknown is None:
            silent[name] = _other_inputs(model)
        elif unknown > MOST_UNKNOWN:
            silent[name] = (
                f"labels are not those of the baseline: {unknown:.0%} of what clients were told is unknown to it; fit it "
                "again, or name the labels as they were"
            )
        else:
            fleets.append(_fleet(name, model, unknown, budgets))
    return Surveyed(tuple(fleets), dict(sorted(silent.items())))


def _other_inputs(model: _Model) -> str:
    kind = "" if model.reference.table else ", none of them missing"
    return (
        f"none of its {model.unmeasured:,} queries could be measured: its baseline is of inputs with "
        f"{model.reference.dimension} values{kind}"
    )


def _measure(model: _Model, batch: Batch, secret: int, budgets: Sequence[float], most: int) -> None:
    if batch.vector.shape[1] != model.reference.dimension:
        model.unmeasured += len(batch)
        return
    gaps = np.isnan(batch.vector)
    if gaps.any() and not model.reference.table:
        whole = np.flatnonzero(~gaps.any(axis=1))
        model.unmeasured += len(batch) - len(whole)
        batch, gaps = batch.take(whole), gaps[whole]
    if not len(batch):
        return
    reduced = model.reference.reduce(np.where(gaps, model.reference.missing, batch.vector))
    told = told_of(reduced.z, reduced.c, batch.label, map(probabilities, batch.told or ()))
    unknown = model.judge.unknown(batch.label)
    rows: dict[tuple[str, str], list[int]] = {}
    for place, (client, sender) in enumerate(zip(batch.client, batch.sender, strict=True)):
        rows.setdefault((CLIENT, client), []).append(place)
        if sender.organization:
            rows.setdefault((ORGANIZATION, sender.organization), []).append(place)
    for who, places in rows.items():
        held = model.given_up.get(who) or model.metered.pop(who, None)
        if held is None:
            held = _Metered(Meter(model.judge, seed_of(secret, batch.model, *who)))
        held.add(told.take(places), int(unknown[places].sum()), budgets)
        if held.meter is not None:
            model.metered[who] = held
            if len(model.metered) > most:
                longest_ago = next(iter(model.metered))
                given_up = model.given_up[longest_ago] = model.metered.pop(longest_ago)
                given_up.meter = None


def probabilities(packed: bytes) -> npt.NDArray[np.float64]:
    """Return the probabilities of a response; none where there are too many to be read."""
    return np.frombuffer(packed if len(packed) <= 8 * WIDEST else b"", np.float64)


def seed_of(secret: int, *names: str) -> int:
    """Return a random number that belongs to these names, and that nobody without the secret can compute."""
    text = "".join(f"{len(name)}:{name}" for name in names)
    key = secret.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), key=key, digest_size=8).digest(), "little") >> 1


def _fleet(name: str, model: _Model, unknown: float, budgets: Sequence[float]) -> Fleet:
    met = [*model.metered.items(), *model.given_up.items()]
    holdings = [held.of(kind, who, budgets) for (kind, who), held in met]
    holdings.sort(key=lambda held: (-(held.reading.lead if held.reading else -1.0), -held.queries, held.kind, held.id))
    return Fleet(
        name,
        model.judge.guess,
        len(model.judge.label),
        model.unmeasured,
        len(model.given_up),
        unknown,
        tuple(holdings),
    )

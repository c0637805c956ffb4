"""Tracing: what the engine saw of a client, query by query, kept for explanations and pictures.

`Tracer` is an observer of the engine. It draws no conclusions of its own but asks `detector.policy`, as the engine does, so
what it says of a recorded log is what was decided.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.account import account_of
from detector.engine.evidence import whole
from detector.engine.evidence.accumulate import CHANNELS, MAY_STOP, counts
from detector.engine.findings import Reading
from detector.engine.memory.admission import FRESH
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.observer import Seen
from detector.engine.policy import (
    ACTIONS,
    ALERT,
    ALLOW,
    COMPANIONS,
    THROTTLE,
    Budget,
    PolicySettings,
    Thresholds,
    channel_action,
    novelty_action,
    permitted,
    thresholds_for,
    vouched,
)
from detector.engine.shard import ModelBaseline
from detector.ingest.batch import Sender

NOVELTY = whole.NOVELTY.name
OTHERS = 512  # queries of other clients that are kept, at most twice as many
REACH = 20_000  # earlier queries that the nearest is sought among


@dataclass(frozen=True, slots=True)
class Escalation:
    """A step up the ladder: the evidence `name` called for `action` for the first time, with this `score`."""

    name: str
    action: str
    query: int
    time_ms: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What the engine saw of one client on one model: n queries that counted, e scheduled evaluations.

    `queries` (n,) counts the client's queries, `time_ms` (n,) are their event times, `z` (n, COORDINATES) the reduced inputs;
    `ratio` and `peak` (n, channels) are the likelihood ratios of each query and the evidence so far. `evaluations` (e,) are the
    query counts at scheduled evaluations, `novelty` (e,) the scores there and `rows` (e, features) the features. `lives` is how
    often the client was new. `odometer` are the highest readings so far, each once, and `budget` is that of the client, as its
    latest query describes it.
    """

    client: str
    model: str
    group: str
    queries: npt.NDArray[np.int64]
    time_ms: npt.NDArray[np.int64]
    event_ids: tuple[str, ...]
    z: npt.NDArray[np.int16]
    ratio: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    evaluations: npt.NDArray[np.int64]
    novelty: npt.NDArray[np.float64]
    rows: npt.NDArray[np.float64]
    thresholds: Thresholds
    escalations: tuple[Escalation, ...]
    lives: int = 1
    odometer: tuple[Reading, ...] = ()
    budget: Budget = field(default_factory=Budget)

    @property
    def constructed(self) -> npt.NDArray[np.bool_]:
        """Which queries carried evidence that counts, (n, channels)."""
        return counts(self.ratio, self.peak)

    @property
    def construction(self) -> npt.NDArray[np.float64]:
        """Evidence of the strongest channel over the threshold at which it stops the client, (n,)."""
        reached = self.peak[:, MAY_STOP] / np.asarray(self.thresholds.stop)[MAY_STOP]
        return np.asarray(reached.max(axis=1, initial=0.0), np.float64)

    @property
    def strangeness(self) -> npt.NDArray[np.float64]:
        """Novelty over the threshold at which it throttles, or alerts where it may not throttle, (e,)."""
        return self.novelty / (self.thresholds.throttle if np.isfinite(self.thresholds.throttle) else self.thresholds.alert)

    @property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """When a harder action than before was decided, from throttle on: (query, action)."""
        found: list[tuple[int, str]] = []
        highest = THROTTLE - 1
        for escalation in self.escalations:
            if ACTIONS.index(escalation.action) > highest:
                highest = ACTIONS.index(escalation.action)
                found.append((escalation.query, escalation.action))
        return tuple(found)


@dataclass(slots=True)
class _Record:
    """The parts of a trace, one entry a pass."""

    parts: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict)
    event_ids: list[str] = field(default_factory=list)
    vouched: list[bool] = field(default_factory=list)
    organizations: list[str | None] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    sender: Sender = field(default_factory=Sender)
    lives: int = 1

    def add(self, seen: Seen, events: Sequence[int], policy: PolicySettings) -> None:
        at = np.asarray(events, np.intp)
        if seen.queries[at[0]] == 1 and self.event_ids:
            self.parts, self.event_ids, self.vouched, self.organizations, self.readings = {}, [], [], [], []
            self.lives += 1
        evaluated = np.flatnonzero(np.isin(seen.look_event, at))
        for name, part in (
            ("queries", seen.queries[at]),
            ("time_ms", seen.batch.time[at]),
            ("z", seen.z[at]),
            ("ratio", seen.ratio[at]),
            ("peak", seen.peak[at]),
            ("evaluations", seen.queries[seen.look_event[evaluated]]),
            ("novelty", seen.score[evaluated]),
            ("rows", seen.rows[evaluated]),
        ):
            self.parts.setdefault(name, []).append(part)
        self.event_ids += [seen.batch.event_id[i] for i in events]
        self.vouched += [vouched(seen.batch.sender[i], policy) for i in events]
        for reading in (seen.readings[i] for i in events if i in seen.readings):
            if reading not in self.readings[-1:]:
                self.readings.append(reading)
        self.sender = seen.batch.sender[events[-1]]
        self.organizations += [seen.batch.sender[i].organization for i in events]

    def joined(self) -> dict[str, npt.NDArray[Any]]:
        return {name: np.concatenate(parts) for name, parts in self.parts.items()}


class Tracer:
    """An observer that keeps traces of some clients, or of all.

    `baselines` and `policy` are those that the engine runs under: the thresholds follow from them. Everything is kept, some 150
    bytes a query, so this is for recorded logs and not for a service. Of a client that the engine forgot and met again, only
    the latest life is kept, as in the engine.
    """

    def __init__(
        self, baselines: Mapping[str, ModelBaseline] | None, policy: PolicySettings, clients: Collection[str] | None = None
    ) -> None:
        self._baselines = baselines or {}
        self._policy = policy
        self._clients = clients
        self._records: dict[tuple[str, str], dict[str, _Record]] = {}  # by client and model, and then by account
        self._others: dict[str, list[npt.NDArray[np.int16]]] = {}
        self._stride: dict[str, tuple[int, int]] = {}
        self.end_ms = 0

    def observed(self, seen: Seen) -> None:
        """Take one pass of the engine."""
        batch = seen.batch
        fresh = np.flatnonzero(seen.verdict == FRESH).tolist()
        if not fresh:
            return
        self.end_ms = max(self.end_ms, int(batch.time[fresh].max()))
        own: dict[str, list[int]] = {}
        others = []
        for i in fresh:
            if self._clients is None or batch.client[i] in self._clients:
                own.setdefault(seen.account[i], []).append(i)
            else:
                others.append(i)
        for account, events in own.items():
            place = account_of(account).client, batch.model
            self._records.setdefault(place, {}).setdefault(account, _Record()).add(seen, events, self._policy)
        self._sample(batch.model, seen.z[others])

    def _sample(self, model: str, z: npt.NDArray[np.int16]) -> None:
        """Keep every so many of the other clients' queries, twice as sparsely whenever there are too many."""
        kept = self._others.setdefault(model, [])
        met, stride = self._stride.get(model, (0, 1))
        kept += list(z[(-met) % stride :: stride])
        while len(kept) >= 2 * OTHERS:
            del kept[1::2]
            stride *= 2
        self._stride[model] = (met + len(z), stride)

    def others(self, model: str) -> npt.NDArray[np.int16]:
        """Return a sample, evenly spread over the log, of the queries of clients that are not traced: (m, COORDINATES)."""
        return np.array(self._others.get(model, []), np.int16).reshape(-1, COORDINATES)

    @property
    def traced(self) -> list[tuple[str, str]]:
        """The clients that were traced, each with a model, in the order in which they came."""
        return list(self._records)

    def thresholds(self, model: str, policy: PolicySettings | None = None) -> Thresholds:
        """Return the thresholds in force for a model, or those that `policy` would set."""
        known = self._baselines.get(model)
        scores = (known.norms.session_scores, known.channel_scores, known.reviewed) if known else (None, None)
        return thresholds_for(policy or self._policy, *scores)

    def trace(
        self, client: str, model: str, group: str = "", policy: PolicySettings | None = None, address: str | None = None
    ) -> Trace:
        """Return the trace of a client on a model, with the steps that it took, or would have taken under other `policy`.

        Where the identity is not vouched for, `address` says which account under this name; without it that with most queries.
        Raises KeyError when none of its queries counted.
        """
        accounts = self._records[client, model]
        chosen = [record for key, record in accounts.items() if address is not None and account_of(key).address == address]
        record = max(chosen or accounts.values(), key=lambda record: len(record.event_ids))
        parts = record.joined()
        thresholds = self.thresholds(model, policy)
        protects = (policy or self._policy).protects
        budget = (policy or self._policy).budget_of(model, client, record.sender)
        limits = [
            permitted(len(ACTIONS), trusted=known, protected=protects(client, organization))
            for known, organization in zip(record.vouched, record.organizations, strict=True)
        ]
        steps = [*_escalations(parts, thresholds, limits), *_budget_steps(parts, record.readings, budget, limits)]
        return Trace(
            client=client,
            model=model,
            group=group,
            event_ids=tuple(record.event_ids),
            thresholds=thresholds,
            escalations=tuple(sorted(steps, key=lambda escalation: escalation.query)),
            lives=record.lives,
            odometer=tuple(record.readings),
            budget=budget,
            **parts,
        )

    def traces(self, groups: Mapping[str, str]) -> list[Trace]:
        """Return the traces of the clients in `groups`, which maps a client to its group, in that order."""
        return [
            self.trace(client, model, group)
            for wanted, group in groups.items()
            for client, model in self.traced
            if client == wanted
        ]


def _escalations(parts: Mapping[str, npt.NDArray[Any]], thresholds: Thresholds, limits: Sequence[int]) -> Iterator[Escalation]:
    """Yield the steps that each kind of evidence took; `limits` (n,) is the hardest action allowed at each query."""
    queries, times = parts["queries"], parts["time_ms"]
    counted = counts(parts["ratio"], parts["peak"])
    for j, name in enumerate(CHANNELS):
        reached = ALERT - 1
        for i in np.flatnonzero(counted[:, [j, *COMPANIONS[j]]].any(axis=1)).tolist():
            score = float(parts["peak"][i, j])
            wanted = channel_action(j, parts["peak"][i], thresholds.after(int(queries[i])))
            if wanted > reached:
                reached = wanted
                yield Escalation(name, ACTIONS[min(wanted, limits[i])], int(queries[i]), int(times[i]), score)
    reached, strange = ALERT - 1, 0
    for query, novelty in zip(parts["evaluations"].tolist(), parts["novelty"].tolist(), strict=True):
        strange = strange + 1 if novelty >= thresholds.alert else 0
        wanted = novelty_action(novelty, strange, thresholds)
        if wanted > reached:
            reached = wanted
            i = int(np.searchsorted(queries, query))
            yield Escalation(NOVELTY, ACTIONS[min(wanted, limits[i])], query, int(times[i]), novelty)


def _budget_steps(
    parts: Mapping[str, npt.NDArray[Any]], readings: Sequence[Reading], budget: Budget, limits: Sequence[int]
) -> Iterator[Escalation]:
    """Yield the readings of the odometer from which on a budget called for more."""
    reached = ALLOW
    for reading in readings:
        wanted = budget.action(reading.lead)
        if wanted > reached:
            reached = wanted
            i = min(int(np.searchsorted(parts["queries"], reading.queries)), len(limits) - 1)
            yield Escalation(
                whole.HARM.name, ACTIONS[min(wanted, limits[i])], reading.queries, int(parts["time_ms"][i]), reading.lead
            )


def nearest_earlier(z: npt.NDArray[np.int16], i: int) -> int | None:
    """Return which earlier query of the same client lies nearest to query `i`, None for the first; `z` (n, COORDINATES).

    Compares with the 20,000 queries before it. The engine compares with its retained queries, a sample, so this one is at
    least as near.
    """
    if i == 0:
        return None
    first = max(i - REACH, 0)
    apart = z[first:i].astype(np.float64) - z[i]
    return first + int(np.square(apart).sum(axis=1).argmin())

"""The odometer against the truth: its lead beside that of a well-trained copy of the same responses.

    python -m tests.quality.odometer digits_8bit-mlp text-linear loans-forest [--kept FOLDER]

Each cell is a world and a victim. A few thieves and innocents ask, and are told probabilities, labels, or probabilities rounded
to fifths. The truth is the agreement of a copy (`redteam.copy`) on examples that nobody asked about: of a network, in tables
the best of a network, a tree and a solved softmax regression. Both are in units of the lead. Three meters are compared: that of
recorded logs (``log``), that of the service (``service``), which has the memory of the engine alone, and that of campaigns
(``campaign``), which reads accounts together: 20 of them, then 100, to which the client's queries are dealt in turn. FOLDER
holds logs that were played before (``CELL.pkl``: a dictionary with ``fit``, ``thefts[attack, cover]`` and
``innocents[wave, profile]``); without it the cell is played, which takes minutes.
"""

import argparse
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from detector.engine.clients import ClientTable
from detector.engine.fitting.reference import fit_reference
from detector.engine.judge import Judge
from detector.engine.links.groups import Groups
from detector.engine.links.joined import Account, Group
from detector.engine.links.latest import Latest
from detector.engine.links.seeking.search import links_for
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.together import Together
from detector.engine.models.novelty import Novelty
from detector.engine.models.reference import Reduced, Reference
from detector.engine.observer import Seen
from detector.engine.odometer.meter import Meter
from detector.engine.odometer.meters import Meters
from detector.engine.odometer.reading import Reading, lead_of
from detector.engine.odometer.reference_set import ReferenceSet, sample_reference_set
from detector.engine.odometer.told import told_of
from detector.engine.policy import PolicySettings, thresholds_for
from detector.ingest.batch import Batch, Sender
from detector.redteam.copy import best_fidelity_at, fidelity
from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise, innocent, thief
from detector.testing import START_MS
from tests.quality.history import GAP_SECONDS, Past, past_players, playable
from tests.quality.observed import Log, written
from tests.quality.simulation import Simulation, kind_of, simulated

MOMENTS = (32, 64, 128, 256, 400)  # a reading at the first scheduled evaluation from each on, and the last one
TEACHING = 6000  # queries that the reference is fitted on
INNOCENTS = 5  # profiles of each wave
PLAIN = (  # attacks without cover; each cell has those that fit its data
    "line_search", "hopskipjump", "lowd_meek", "path_finding", "one_feature_bisect_whole", "finite_differences", "zoo", "jbda",
    "jbrand", "t_rnd", "uniform", "marginals", "half_swapped", "knockoff_random", "knockoff_texts", "generator_proxy",
)  # fmt: skip
FORMS = ("probabilities", "label", "fifths")
METERS = ("log", "service", "campaign of 20", "campaign of 100")
STOP = 0.65

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One reading and the true lead at the same number of queries."""

    cell: str
    family: str
    form: str
    reading: Reading
    truth: float
    meter: str = "log"


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What one client asked, (n, dimension), the codes of the labels and the probabilities (n, classes) of the responses."""

    family: str
    vectors: npt.NDArray[np.float32]
    label: npt.NDArray[np.int32]
    answers: Floats

    def told(self, form: str) -> Floats:
        """Return the responses as probabilities (n, classes) in one of `FORMS`."""
        if form == "label":
            return np.asarray(np.eye(self.answers.shape[1])[self.answers.argmax(axis=1)])
        if form == "fifths":
            return np.asarray(np.round(self.answers * 5.0) / 5.0)
        return self.answers


def played(simulation: Simulation) -> dict[str, Any]:
    """Play the benign log, a thief of each plain attack, and innocents."""
    kind = simulation.thieves.data
    labels_only = simulation.labels_only
    attacks = [name for name in PLAIN if kind in ATTACKS[name].data]
    return {
        "fit": [
            written(players, target, labels_only=labels_only) for target, players in past_players(simulation, Past(3, 400, 400))
        ],
        "thefts": {
            (name, 0.0): [
                written([thief(name, 0, simulation.thieves, Disguise(cover=0.0), 400, GAP_SECONDS, 1)], simulation.thieves)
            ]
            for name in attacks
        },
        "innocents": {
            (wave, profile): written([innocent(profile, 0, simulation.evaluation, 300, GAP_SECONDS, 3)], simulation.evaluation)
            for wave in ("known", "later")
            for profile in spread(playable(simulation, wave))
        },
    }


def spread(names: Sequence[str]) -> list[str]:
    """Return a few of the names, spread over all."""
    return list(names)[:: max(1, len(names) // INNOCENTS)][:INNOCENTS]


def streams(logs: Mapping[str, Any]) -> Iterator[Stream]:
    """Yield one thief of each attack without cover, and one client of some profiles of each wave."""
    for (attack, cover), of_attack in logs["thefts"].items():
        if cover == 0.0 and of_attack:
            yield stream_of(attack, of_attack[0])
    for wave in ("known", "later"):
        for profile in spread([name for its, name in logs["innocents"] if its == wave]):
            yield stream_of(f"innocent {profile}", logs["innocents"][wave, profile])


def stream_of(family: str, log: Log) -> Stream:
    """Return the first client of a log."""
    client = next(iter(log.sessions))
    own = [(batch, [i for i, name in enumerate(batch.client) if name == client]) for batch in log.batches]
    return Stream(
        family,
        np.concatenate([batch.vector[rows] for batch, rows in own]),
        np.concatenate([batch.label[rows] for batch, rows in own]),
        log.sessions[client].answers,
    )


def judged(simulation: Simulation, logs: Sequence[Log]) -> tuple[Reference, ReferenceSet]:
    """Fit the reference and sample the reference set on the benign log, which here has no thief to set aside."""
    vectors = np.concatenate([batch.vector for log in logs for batch in log.batches])
    label = np.concatenate([batch.label for log in logs for batch in log.batches])
    clients = [client for log in logs for batch in log.batches for client in batch.client]
    rows = np.random.default_rng(1).permutation(len(vectors))[:TEACHING]
    reference = fit_reference(
        vectors[rows],
        len(np.unique(label)),
        seed=1,
        categorical=simulation.categorical,
        clients=[clients[i] for i in rows],
    )
    judge = sample_reference_set(reference, vectors, label, clients, 1)
    if judge is None:
        raise SystemExit("the benign log has a single label")
    return reference, judge


def points(cell: str, simulation: Simulation, logs: Mapping[str, Any]) -> Iterator[Point]:
    """Yield the points of a cell."""
    target = simulation.thieves
    reference, judge = judged(simulation, logs["fit"])
    labels = target.predict(target.test).argmax(axis=1)
    guess = float(np.bincount(labels).max() / len(labels))
    table = kind_of(simulation.data) == "tabular"
    for stream in streams(logs):
        reduced = reference.reduce(np.where(np.isnan(stream.vectors), reference.missing, stream.vectors))
        for form in FORMS:
            answers = stream.told(form)
            told = told_of(reduced.z, reduced.c, stream.label, () if form == "label" else answers)
            of_log = chosen(shown(Meter(judge, 1).add(told)))
            of_service = chosen(service_readings(reference, judge, stream, told_as(stream, form)))
            truths: dict[int, float] = {}
            read = {"log": of_log, "service": of_service}
            for accounts in (20, 100):
                read[f"campaign of {accounts}"] = campaign_readings(reduced, judge, stream, told_as(stream, form), accounts)
            for meter, reading in [(meter, one) for meter, some in read.items() for one in some]:
                n = reading.queries
                if n not in truths:
                    asked = stream.vectors[:n].astype(np.float64)
                    if table:
                        found = best_fidelity_at([n], asked, answers[:n], target.test, target.predict, 0, target.encode)[n]
                    else:
                        found = fidelity(asked, answers[:n], target.test, target.predict, 0, target.encode)
                    truths[n] = lead_of(found, guess)
                yield Point(cell, stream.family, form, reading, truths[n], meter)


class _Readings:
    """An observer that keeps the readings of one client, each with the queries that it had asked by then."""

    def __init__(self) -> None:
        self.found: list[Reading] = []

    def observed(self, seen: Seen) -> None:
        self.found += [reading._replace(queries=int(seen.queries[event])) for event, reading in sorted(seen.readings.items())]


def service_readings(reference: Reference, judge: ReferenceSet, stream: Stream, answers: Floats | None) -> list[Reading]:
    """Return what the service reads of a client, the highest reading so far at each."""
    n = len(stream.label)
    largest = np.full((n, 2), np.nan) if answers is None else -np.sort(-answers, axis=1)[:, :2]
    policy, novelty, seen = PolicySettings(), Novelty(None), _Readings()
    table = ClientTable(
        "measured",
        reference,
        novelty,
        Judge(thresholds_for(policy, None, None), policy, novelty),
        max_clients=2,
        lateness_ms=1000,
        observer=seen,
        meters=Meters(judge),
    )
    table.process(
        Batch(
            model="measured",
            sequence=np.arange(n),
            time=START_MS + int(GAP_SECONDS * 1000) * np.arange(n),
            client=["client"] * n,
            event_id=list(map(str, range(n))),
            vector=stream.vectors.astype(np.float32),
            label=stream.label,
            confidence=largest[:, 0].astype(np.float32),
            runner_up=largest[:, 1].astype(np.float32),
            weight=np.ones(n, np.float32),
            sender=[Sender(trusted=True)] * n,
            version=[None] * n,
            refused=np.zeros(n, np.uint8),
            digest=np.zeros(n, np.uint64),
        )
    )
    return seen.found


def told_as(stream: Stream, form: str) -> Floats | None:
    """Return the probabilities that were told, None where labels alone were."""
    return None if form == "label" else stream.told(form)


def campaign_readings(
    reduced: Reduced, judge: ReferenceSet, stream: Stream, answers: Floats | None, accounts: int
) -> list[Reading]:
    """Return what the linker reads of a campaign whose accounts, all named, were asked a client's queries in turn."""
    n = len(stream.label)
    largest = np.full((n, 2), np.nan) if answers is None else -np.sort(-answers, axis=1)[:, :2]
    whose = np.arange(n) % accounts + 1
    numbers = np.zeros(n, np.uint64)
    sketches = Sketches(
        model="measured",
        sequence=np.arange(n),
        time=START_MS + np.arange(n),
        account=list(map(str, whose)),
        event_id=list(map(str, range(n))),
        sender=[Sender(trusted=True)] * n,
        version=[None] * n,
        z=reduced.z,
        c=reduced.c,
        total=numbers.astype(np.uint32),
        weighed=numbers.astype(np.uint32),
        content=numbers,
        label=stream.label,
        confidence=largest[:, 0].astype(np.float32),
        runner_up=largest[:, 1].astype(np.float32),
        perturbed=np.zeros(n, np.uint8),
    )
    links = links_for(n)
    links.uid[:] = np.arange(1, n + 1)
    groups = Groups(LinkSettings())
    group = groups.groups[1] = Group(1, 0, 0, 0, "first", named=list(range(1, accounts + 1)))
    groups.grouped = {number: Account(number, str(number), None, True, group=1) for number in group.named}
    kept = Together(Latest(judge, LinkSettings().entries, 1), len, lambda sender: sender.trusted is True)
    kept.take(sketches, whose.astype(np.uint64), links)
    found = []
    for uid in range(1, n + 1):
        groups.grouped[int(whose[uid - 1])].queries += 1
        group.queries += 1
        kept.advance(uid, groups)
        if uid in MOMENTS or uid == n:
            reading = kept.holdings.read(group, groups, uid)
            found += [] if reading is None else [reading._replace(queries=uid)]
    return found


def chosen(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings at about `MOMENTS`, each once."""
    found = {next((r for r in readings if r.queries >= moment), readings[-1]) for moment in MOMENTS if readings}
    return sorted(found)


def shown(readings: Sequence[Reading]) -> list[Reading]:
    """Return what is shown at each reading: the one with the highest lead so far."""
    best: list[Reading] = []
    for reading in readings:
        highest = max([*best[-1:], reading], key=lambda one: one.lead)
        best.append(highest._replace(queries=reading.queries))
    return best


def tell(name: str, found: Sequence[Point]) -> str:
    """Return one line on points: how well leads and truths agree, and how often the interval holds the truth."""
    lead, truth = (np.array(values) for values in zip(*((p.reading.lead, p.truth) for p in found), strict=True))
    held = np.mean([p.reading.low <= p.truth <= p.reading.high for p in found])
    r = np.corrcoef(lead, truth)[0, 1] if lead.std() > 0 and truth.std() > 0 else np.nan
    n = len(found)
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(max(n - 3, 1)))
    return (
        f"{name:34} n {n:4}  r {r:.3f} [{low:.3f}, {high:.3f}]  rmse {np.sqrt(np.mean((lead - truth) ** 2)):.3f}  "
        f"bias {np.mean(lead - truth):+.3f}  in the interval {held:.0%}"
    )


def main() -> None:
    """Measure the cells that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="+", metavar="WORLD-VICTIM")
    parser.add_argument("--kept", type=Path, help="folder of logs that were played before")
    options = parser.parse_args()
    everything: list[Point] = []
    for cell in options.cells:
        world, _, victim = cell.partition("-")
        simulation = simulated(world, victim, 1)
        kept = None if options.kept is None else options.kept / f"{cell}.pkl"
        logs = played(simulation) if kept is None else pickle.loads(kept.read_bytes())
        with threadpool_limits(1):
            found = list(points(cell, simulation, logs))
        everything += found
        for meter in METERS:
            own = [point for point in found if point.meter == meter]
            print(tell(f"{cell}, {meter}", own), flush=True)  # noqa: T201
            for form in FORMS:
                print(tell(f"  {form}", [p for p in own if p.form == form]), flush=True)  # noqa: T201
            print(f"  {met(own)}", flush=True)  # noqa: T201
    for meter in METERS:
        print(tell(f"all, {meter}", [point for point in everything if point.meter == meter]))  # noqa: T201


def met(found: Sequence[Point]) -> str:
    """Return one line on a budget: whom it meets, and with which true lead."""
    stops: dict[tuple[str, str], Point] = {}
    for point in found:
        if point.reading.lead >= STOP:
            stops.setdefault((point.family, point.form), point)
    truths = [point.truth for point in stops.values()]
    mean = f", true lead {np.mean(truths):.2f} in the mean, {np.max(truths):.2f} at most" if truths else ""
    return f"a budget of {STOP} meets {len(stops)} of {len({(p.family, p.form) for p in found})}{mean}"


if __name__ == "__main__":
    main()

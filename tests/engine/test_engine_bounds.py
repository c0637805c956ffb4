"""State stays bounded: floods of clients, long histories, and what must never be forgotten."""

import gc
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.account import account_of
from detector.engine.clients import ClientTable
from detector.engine.evidence.accumulate import OPEN
from detector.engine.examples import EXAMPLES
from detector.engine.findings import Outputs
from detector.engine.policy import PERTURB
from detector.engine.shard import EngineSettings, Shard
from detector.engine.state import Columns
from detector.testing import Events, batches, traffic

Lines = Callable[..., list[bytes]]

BYTES_PER_CLIENT = 10_000
BYTES_IN_ALL = 10_000  # of a client of a table, with its name and its entries in tables


def suspects_of(table: ClientTable) -> set[str]:
    """Return the clients in memory that must not be forgotten, from their own figures."""
    standing, evidence = table.columns.standing, table.columns.evidence
    return {
        client
        for client, slot in table._slots.of.items()
        if (evidence.score[slot].max(axis=1) > OPEN).any() or standing.reached[slot].any() or standing.revision[slot] > 0
    }


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 60))
def test_a_flood_of_clients_evicts_the_innocent_only(
    benign: Callable[[], Baseline], make_log: Lines, seed: int, room: int, chunk: int
) -> None:
    """However many new ids come, at most `room` clients are held, and nobody with open evidence is ever lost."""
    rng = np.random.default_rng(seed)
    events = Events("alpha")
    lines = []
    thieves = make_log(seed, clients=6, events=60, repeats=0.0, disorder=0.0, habits=("flat",))
    for number, line in enumerate(thieves):
        lines.append(line)
        lines += [events.line(f"flood-{number}-{i}", rng.random(9), 0) for i in range(int(rng.integers(8)))]
    shard = Shard(EngineSettings(max_clients=room), benign().models)
    suspects: set[str] = set()
    gone: set[str] = set()
    arrived: set[str] = set()
    for start in range(0, len(lines), chunk):
        part = batches(lines[start : start + chunk], first_sequence=start)
        arrived |= {client for batch in part for client in batch.client}
        outputs = shard.process(*part)
        table = shard._tables["alpha"]
        left = {report.client for report in outputs.departed}
        gone |= left
        assert len(table) <= room
        assert suspects <= {account_of(key).client for key in (*table._slots.of, *table._parked.clients("alpha"))}
        assert not suspects & left
        suspects |= {finding.client for finding in outputs.findings} | {order.client for order in outputs.pending_decisions}
    assert gone | {report.client for report in shard.reports()} == arrived


def test_who_leaves_was_silent_longest_and_is_reported(generated_baseline: Baseline) -> None:
    """Room is made by the client whose last query lies farthest back, with its report; when it returns it is new."""
    events = Events("alpha")
    rng = np.random.default_rng(2)
    shard = Shard(EngineSettings(max_clients=3), generated_baseline.models)

    def ask(*clients: str) -> Outputs:
        first = events.count
        return shard.process(*batches([events.line(client, rng.random(9), 0) for client in clients], first_sequence=first))

    assert not ask("a", "b", "c", "a", "b", "a").departed
    (left,) = ask("d").departed
    assert (left.client, left.queries, left.model) == ("c", 1, "alpha")
    (left,) = ask("a", "c").departed
    assert (left.client, left.queries) == ("b", 2)
    assert {report.client: report.queries for report in shard.reports()} == {"a": 4, "c": 1, "d": 1}


def test_a_client_that_leaves_and_returns_in_one_batch_keeps_its_name(generated_baseline: Baseline) -> None:
    """Events are never counted for whoever took over the place of their client."""
    events = Events("alpha")
    rng = np.random.default_rng(2)
    order = ["a", "b", "c", "a", "d", "b", "a", "c"] * 20
    shard = Shard(EngineSettings(max_clients=2), generated_baseline.models)
    outputs = shard.process(*batches([events.line(client, rng.random(9), 0) for client in order]))
    counted = dict.fromkeys("abcd", 0)
    for report in [*outputs.departed, *shard.reports()]:
        counted[report.client] += report.queries
    assert counted == {client: order.count(client) for client in "abcd"}


def test_clients_whose_evidence_has_faded_are_forgotten_like_others() -> None:
    """Suspects that were parked, came back and turned out innocent are not kept for ever."""
    events = Events("alpha", step_ms=10)
    rng = np.random.default_rng(4)
    shard = Shard(EngineSettings(max_clients=4, learning_events=40))
    lines = [events.line("first", x, int(x.sum() > 4.5)) for x in rng.random((40, 9))]
    for i in range(12):
        for x in rng.uniform(0.2, 0.8, (2, 9)):
            step = 0.1 * rng.permutation(np.resize([1.0, -1.0], 9))
            lines += [events.line(f"suspect-{i}", x, 0), events.line(f"suspect-{i}", x + step, 0)]
    shard.process(*batches(lines))
    table = shard._tables["alpha"]
    assert len(table) == 4
    assert shard.parked + len(suspects_of(table)) >= 10
    asked = rng.random((400, 12, 9))
    calm = [events.line(f"suspect-{i}", x, int(x.sum() > 4.5)) for turn in asked for i, x in enumerate(turn)]
    shard.process(*batches(calm, first_sequence=100))
    new = [events.line(f"new-{i}", rng.random(9), 0) for i in range(4)]
    outputs = shard.process(*batches(new, first_sequence=10_000))
    assert len(table) == 4
    assert shard.parked < 10
    assert any(report.client.startswith("suspect-") for report in outputs.departed)


def test_the_row_of_a_client_is_bounded() -> None:
    """Ten kilobytes hold a client, an id of ordinary length and its entries in tables included."""
    rows = Columns(1).bytes_per_client
    assert rows + sys.getsizeof("a-client-id-of-ordinary-length-0123456789") + 500 <= BYTES_PER_CLIENT
    assert Columns(1, summed=True).bytes_per_client <= BYTES_PER_CLIENT


def test_memory_per_client_is_bounded(generated_baseline: Baseline) -> None:
    """Measured from outside: 1,024 clients with ten queries each, names and all."""
    events = Events("alpha", step_ms=1)
    rng = np.random.default_rng(3)
    X = rng.random((64, 9))
    lines = [events.line(f"client-{i:08d}", X[(i + turn) % 64], 0) for turn in range(10) for i in range(1024)]
    settings = EngineSettings(lateness_ms=1000, max_clients=1024)
    Shard(settings, generated_baseline.models).process(*batches(lines))  # what is compiled for it would count as well
    shard = Shard(settings, generated_baseline.models)
    shard.process(*batches(lines[:4]))
    tracemalloc.start()
    for start in range(4, len(lines), 1024):
        shard.process(*batches(lines[start : start + 1024], first_sequence=start))
    gc.collect()  # what only waits for collection is no client's
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shard.clients == 1024
    assert used / 1024 <= BYTES_IN_ALL


def test_nothing_grows_with_the_history_of_a_client(generated_baseline: Baseline) -> None:
    """After ten times the queries, every array has the size it had, examples and the ledger included."""
    shard = Shard(EngineSettings(lateness_ms=10_000), generated_baseline.models)
    lines = [
        line.replace(b'"model": {"id": "model"}', b'"model": {"id": "alpha"}')
        for line in traffic(innocents=1, thieves=1, queries=2000, dimension=9)
    ]

    def sizes() -> dict[str, object]:
        table = shard._tables["alpha"]
        return {
            "columns": {name: array.nbytes for name, array in table.columns._named()},
            "ledger": table._ledger.nbytes <= 65_536,
            "examples": len(table._examples) <= 2 * EXAMPLES,
            "snapshot": sum(map(len, shard.snapshot().values())) // 10_000,
        }

    shard.process(*batches(lines[:400]))
    before = sizes()
    for start in range(400, 4000, 400):
        shard.process(*batches(lines[start : start + 400], first_sequence=start))
    assert sizes() == before


def test_open_evidence_survives_any_flood(generated_baseline: Baseline) -> None:
    """A stopped thief that is silent while a thousand new clients pass is still known when it returns."""
    shard = Shard(EngineSettings(max_clients=8), generated_baseline.models)
    theft = [line.replace(b'"id": "model"', b'"id": "alpha"') for line in traffic(innocents=0, queries=20, dimension=9)]
    pending_decisions = shard.process(*batches(theft)).pending_decisions
    assert max(order.action for order in pending_decisions) >= PERTURB
    events = Events("flood")
    rng = np.random.default_rng(1)
    flood = [events.line(f"f{i}", rng.random(9), 0, model={"id": "alpha"}) for i in range(1000)]
    shard.process(*batches(flood, first_sequence=100))
    (report,) = (report for report in shard.reports() if report.client == "thief-0")
    assert report.queries == 20
    assert report.highest >= PERTURB

"""Models without a baseline: no single event, client or version decides what their inputs are like."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.clock import HeldClock
from detector.engine.findings import Outputs
from detector.engine.learning import variant_key
from detector.engine.shard import EngineSettings, Shard
from detector.ingest.assemble import Assembler
from detector.testing import LATER_MS, batches, traffic, watch

Change = Callable[[dict[str, Any]], dict[str, Any]]


def changed(lines: list[bytes], change: Change) -> list[bytes]:
    return [json.dumps(json.loads(line) | change(json.loads(line))).encode() for line in lines]


def of_version(lines: list[bytes], version: str) -> list[bytes]:
    return changed(lines, lambda _: {"model": {"id": "model", "version": version}})


def longer(record: dict[str, Any]) -> dict[str, Any]:
    return {"input": {"vector": [*record["input"]["vector"], 0.5]}}


@pytest.mark.parametrize("first", [1, 60])
def test_the_first_events_of_a_model_decide_nothing(first: int) -> None:
    """Somebody who asks with one number too many, before everybody else, has these queries refused and nobody else's."""
    lines = traffic(queries=150)
    early = changed(traffic(innocents=1, thieves=0, queries=first), lambda r: longer(r) | {"client": {"id": "early"}})
    seen = watch([line.replace(b'"model-', b'"early-') for line in early] + lines)
    assert len(seen.dead) == first
    assert {record.reason for record in seen.dead} == {"dimension"}
    assert [decision.subject.id for decision in seen.decided][:1] == ["thief-0"]


def test_one_loud_client_does_not_outvote_the_others() -> None:
    """It sends four of five events."""
    lines = traffic(queries=150)
    loud = changed(traffic(innocents=1, thieves=0, queries=3000), lambda r: longer(r) | {"client": {"id": "loud"}})
    mixed = []
    for number, line in enumerate(lines):
        mixed += [other.replace(b'"model-', b'"loud-') for other in loud[4 * number : 4 * number + 4]]
        mixed.append(line)
    seen = watch(mixed)
    assert {record.reason for record in seen.dead} == {"dimension"}
    assert len(seen.dead) == len(mixed) - len(lines)
    assert "thief-0" in {decision.subject.id for decision in seen.decided}


def test_a_version_with_other_columns_goes_on_beside_the_old_one() -> None:
    """Both are watched, and what the old one's clients did stays with them."""
    old = of_version(traffic(queries=200, seed=1), "1")
    new = changed(
        traffic(queries=200, seed=2),
        lambda r: (
            longer(r)
            | {
                "model": {"id": "model", "version": "2"},
                "event_id": f"new-{r['event_id']}",
                "client": {"id": f"n-{r['client']['id']}"},
            }
        ),
    )
    mixed = [line for pair in zip(old, new, strict=True) for line in pair]
    seen = watch(mixed)
    assert seen.dead == []
    assert {decision.subject.id for decision in seen.decided} == {"thief-0", "n-thief-0"}
    alone = watch(old)
    assert {d.decision_id for d in alone.decided} <= {d.decision_id for d in seen.decided}


def test_a_version_with_the_same_columns_is_the_same_model() -> None:
    """A client's evidence goes on where the old version left it, and nothing waits."""
    lines = traffic(queries=200)
    first = of_version(lines, "1")
    second = of_version(lines, "2")
    both = first[:600] + second[600:]
    assert [d.decision_id for d in watch(both).decided] == [d.decision_id for d in watch(lines).decided]


def test_a_quiet_model_is_watched_after_an_hour() -> None:
    """From 64 events on, where the hour that learning may take has passed."""
    lines = traffic(innocents=2, thieves=1, queries=60)
    slow = changed(lines, lambda r: {"time": r["time"] + 60_000 * int(r["event_id"].split("-")[1])})
    shard = Shard(EngineSettings())
    for number in range(len(slow)):
        shard.process(*batches(slow[number : number + 1], first_sequence=number))
        assert bool(shard.learning) == (number < 63)


def test_a_model_whose_version_never_stays_is_watched_all_the_same() -> None:
    """Each twenty events are of another version; what waits stays bounded, and the thief is stopped."""
    lines = traffic(queries=300)
    changing = [line for n in range(0, len(lines), 20) for line in of_version(lines[n : n + 20], str(n))]
    shard = Shard(EngineSettings())
    decided = set()
    for number in range(0, len(changing), 50):
        outputs = shard.process(*batches(changing[number : number + 50], first_sequence=number))
        decided |= {order.client for order in outputs.pending_decisions}
        assert len(list(shard.waiting())) <= 2 * 512
        assert len(shard._unknown["model"].waiting) <= 65
    assert decided == {"thief-0"}


def test_what_waits_is_let_go_when_its_length_is_known() -> None:
    """A second version that holds events of the length that the first one is found to take need not wait any longer."""
    first, second = (of_version(traffic(queries=120), version) for version in "12")
    mixed = [line for n in range(0, 600, 2) for line in (first[n], second[n + 1])]
    shard = Shard(EngineSettings(learning_events=256))
    for number in range(0, len(mixed), 10):
        shard.process(*batches(mixed[number : number + 10], first_sequence=number))
        assert not (shard._unknown["model"].variants and list(shard.waiting()))
    assert shard._unknown["model"].variants


@pytest.mark.parametrize(("partitions", "needed"), [(1, 512), (3, 170), (6, 85), (100, 64)])
def test_shards_of_one_model_learn_from_their_share(partitions: int, needed: int) -> None:
    """Together they wait for no more events than one would."""
    assert EngineSettings().dealt(partitions).learning_events == needed
    assert EngineSettings(learning_events=40).dealt(9).learning_events == 40


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 400), max_size=5))
def test_learning_does_not_depend_on_cuts_or_restarts(seed: int, stops: list[int]) -> None:
    """Versions, lengths and refused queries in any mixture."""
    rng = np.random.default_rng(seed)

    def some(record: dict[str, Any]) -> dict[str, Any]:
        version = str(rng.integers(3))
        change: dict[str, Any] = {"model": {"id": "model", "version": version}}
        if version == "2" or rng.random() < 0.1:
            change |= longer(record)
        if rng.random() < 0.1:
            change |= {"output": {}}
        return change

    lines = changed(traffic(queries=80, seed=seed), some)
    engine = EngineSettings(learning_events=70)

    def run(cuts: list[int], *, restart: bool) -> tuple[Outputs, list[object]]:
        shard, outputs = Shard(engine), Outputs()
        assembler = Assembler(HeldClock(LATER_MS))
        for start, stop in pairwise([0, *cuts, len(lines)]):
            found, *_ = assembler.assemble(lines[start:stop], "t", first_line=1 + start, first_sequence=start)
            outputs.add(shard.process(*found))
            if restart:
                saved = shard.snapshot()
                shard = Shard(engine)
                shard.restore(saved)
        outputs.add(shard.finish())
        outputs.sort()
        return outputs, list(shard.reports())

    cuts = sorted({stop for stop in stops if stop < len(lines)})
    whole = run([], restart=False)
    assert run(cuts, restart=False) == whole
    assert run(cuts, restart=True) == whole


def test_a_model_whose_every_query_is_refused_still_has_clients() -> None:
    """They are reported with what they sent."""
    lines = changed(traffic(queries=30), lambda _: {"output": {}})
    seen = watch(lines)
    names = ["client-0", "client-1", "client-2", "client-3", "thief-0"]
    assert {line["client"]: sum(line["refused"].values()) for line in seen.reported} == dict.fromkeys(names, 30)
    assert {line["queries"] for line in seen.reported} == {0}
    assert len(seen.dead) == len(lines)


@given(st.text(max_size=8), st.text(max_size=8), st.none() | st.integers(1, 99), st.none() | st.integers(1, 99))
def test_names_of_variants_are_never_the_same(first: str, second: str, one: int | None, other: int | None) -> None:
    """Whatever the models are called."""
    same = (first, one) == (second, other)
    assert (variant_key(first, one) == variant_key(second, other)) == same

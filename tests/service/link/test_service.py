"""The service with links: it finds the campaigns that one pass over the log finds, however many work and whatever ends."""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import TopicPartition
from kafka.admin import ACLOperation, ResourceType

from detector.baseline.store import Baseline, save
from detector.config import BaselineSection
from detector.config.odometer import OdometerSection
from detector.contracts import to_json
from detector.errors import FatalError
from detector.service.link.stage import link_group
from detector.service.worker import Stage
from detector.testing import Events, watch
from tests.servers.kafka import LocalBroker
from tests.service.kafka.granted import World

pytestmark = pytest.mark.broker

READ, WRITE, DESCRIBE = ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE
ACCOUNTS = 24
INNOCENTS = 20


@pytest.fixture(scope="module")
def campaign() -> list[bytes]:
    """Return a log in which searches for the boundary of "alpha" are dealt to many accounts, query by query.

    The innocent accounts are one organisation's.
    """
    rng, events = np.random.default_rng(3), Events("alpha", step_ms=1000)
    lines: list[bytes] = []

    def ask(client: str, x: np.ndarray[Any, Any]) -> bool:
        chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - 4.5))))
        line = events.line(client, x, int(chance > 0.5), probabilities=[1.0 - chance, chance])
        if client.startswith("innocent"):
            event = json.loads(line)
            line = json.dumps(event | {"client": {**event["client"], "organization": "house"}}).encode()
        lines.append(line)
        return chance > 0.5

    for _ in range(60):
        low, high = rng.random(9), rng.random(9)
        turn = rng.permutation(ACCOUNTS)
        below, above = ask(f"thief-{turn[0]}", low), ask(f"thief-{turn[1]}", high)
        for _ in range(3):
            ask(f"innocent-{rng.integers(0, INNOCENTS)}", rng.random(9))
        for step in range(6 if below != above else 0):
            middle = (low + high) / 2
            if ask(f"thief-{turn[2 + step]}", middle) == below:
                low = middle
            else:
                high = middle
    return lines


@pytest.fixture
def linked_at(rig_at: Callable[..., Any], generated_baseline: Baseline, tmp_path: Path) -> Callable[..., Any]:
    """Return a maker of services on a broker, with a baseline that is in a folder and a budget of organisations."""
    folder = tmp_path / "baseline"
    save(generated_baseline, folder)

    def make(address: str, **settings: Any) -> Any:
        rig = rig_at(address, baseline=generated_baseline, **settings)
        budget = OdometerSection(organization_degrade_at=0.2)
        rig.config = rig.config.model_copy(update={"baseline": BaselineSection(path=folder), "odometer": budget})
        return rig

    return make


@pytest.fixture
def linked(linked_at: Callable[..., Any], broker: str) -> Callable[..., Any]:
    """Return a maker of such services on the shared broker."""
    return partial(linked_at, broker)


def wait_linked(rig: Any) -> None:
    """Wait until all that is written is through detection and the search for links, and nothing waits for its turn."""
    rig.wait_done()
    group = link_group(rig.config.kafka.group_id)
    consumer = rig.connection.consumer(group=group)
    places = [TopicPartition(rig.topics.sketches, number) for number in range(rig.partitions)]
    told = rig.connection.consumer()
    try:
        ends = consumer.end_offsets(places)  # progress goes on being told; three seconds of it let every sketch through
        rig.wait_until(lambda: all((consumer.committed(place, timeout_ms=60_000) or 0) >= ends[place] for place in places))
        written = [place for place in places if ends[place]]
        rig.wait_until(lambda: all(told.end_offsets([place])[place] >= ends[place] + 8 for place in written))
        ends = consumer.end_offsets(places)
        rig.wait_until(lambda: all((consumer.committed(place, timeout_ms=60_000) or 0) >= ends[place] for place in places))
    finally:
        consumer.close(autocommit=False)
        told.close(autocommit=False)


def verify(rig: Any, lines: list[bytes]) -> None:
    """Check that the topics hold the alerts and the last decisions of one pass over the log.

    A campaign and an organisation are among them.
    """
    sink = watch(lines, rig.config, rig.baseline)
    expected = {alert.event.id: to_json(alert) for alert in sink.raised}
    last = {decision.key: to_json(decision) for decision in sink.decided}
    assert {"campaign", "organization"} <= {decision.subject.type for decision in sink.decided}
    raised: dict[str, set[bytes]] = defaultdict(set)
    for records in rig.read(rig.topics.alerts).values():
        for record in records:
            raised[json.loads(record.value)["event"]["id"]].add(record.value)
    assert raised == {name: {alert} for name, alert in expected.items()}
    found: dict[str, bytes] = {}
    for records in rig.read(rig.topics.decisions).values():
        found |= {record.key.decode(): record.value for record in records}
    assert found == last


@pytest.mark.parametrize("workers", [1, 2])
def test_detect_workers_do_not_change_what_is_linked(linked: Callable[..., Any], campaign: list[bytes], workers: int) -> None:
    """One detect worker or two: the campaigns of one pass over the log."""
    rig = linked(partitions=4)
    rig.produce(campaign)
    with ExitStack() as stack:
        stack.enter_context(rig.thread(stage=Stage.INGEST))
        for _ in range(workers):
            stack.enter_context(rig.thread(stage=Stage.DETECT))
        stack.enter_context(rig.thread(stage=Stage.LINK))
        wait_linked(rig)
    verify(rig, campaign)


@pytest.mark.faults
def test_a_kill_in_the_middle_changes_nothing(linked: Callable[..., Any], campaign: list[bytes]) -> None:
    """A worker that runs all stages is killed in the middle of the log; the next one finds what one pass finds."""
    rig = linked(partitions=2, session_seconds=6)
    first = rig.start()
    rig.produce(campaign[:250])
    rig.wait_until(lambda: any(rig.read(rig.topics.links).values()))
    first.kill()
    rig.produce(campaign[250:])
    rig.start()
    wait_linked(rig)
    verify(rig, campaign)


def test_a_model_moves_from_one_link_worker_to_another(linked: Callable[..., Any], campaign: list[bytes]) -> None:
    """A second worker joins in the middle of the log, the first leaves, and the second goes on where that ended."""
    rig = linked(partitions=2)
    with ExitStack() as stack:
        stack.enter_context(rig.thread(stage=Stage.INGEST))
        stack.enter_context(rig.thread(stage=Stage.DETECT))
        with ExitStack() as first:
            first.enter_context(rig.thread(stage=Stage.LINK))
            rig.produce(campaign[:250])
            rig.wait_until(lambda: any(rig.read(rig.topics.links).values()))
            stack.enter_context(rig.thread(stage=Stage.LINK))
            rig.produce(campaign[250:400])
        rig.produce(campaign[400:])
        wait_linked(rig)
    verify(rig, campaign)


@pytest.mark.limit(300)
def test_the_documented_rights_are_enough_for_the_stage(
    strict: LocalBroker, linked_at: Callable[..., Any], campaign: list[bytes]
) -> None:
    """A principal of its own with the rights of the security model does all that the stage has to do."""
    world = World(strict)
    shared = {"prefix": world.section.prefix, "group_id": world.section.group_id, "input_topics": (world.log,)}
    rig = linked_at(strict.bootstrap, partitions=2, create=False, **shared)
    rig.log = world.log
    free = rig.config
    own = free.model_copy(update={"kafka": world.section})
    group = link_group(world.section.group_id)
    world.grant(ResourceType.TOPIC, world.section.prefix, READ, WRITE, DESCRIBE, ACLOperation.DESCRIBE_CONFIGS)
    world.grant(ResourceType.TRANSACTIONAL_ID, f"{group}-", WRITE, DESCRIBE)
    with ExitStack() as stack:
        stack.enter_context(rig.thread(stage=Stage.INGEST))
        stack.enter_context(rig.thread(stage=Stage.DETECT))
        rig.produce(campaign)
        rig.wait_done()
        rig.config = own
        with pytest.raises(FatalError, match="grant Read on the groups that begin with"), rig.thread(stage=Stage.LINK):
            rig.wait_failed()
        world.grant(ResourceType.GROUP, group, READ)
        stack.enter_context(rig.thread(stage=Stage.LINK))
        wait_linked(rig)
    rig.config = free
    verify(rig, campaign)


def test_models_without_baseline_are_not_linked(rig: Any, stolen: list[bytes]) -> None:
    """Without a baseline no sketches are written, and the service runs without the stage."""
    rig.produce(stolen[:300])
    with rig.thread() as worker:
        rig.wait_done()
        assert worker.status().ready
    assert not any(rig.read(rig.topics.sketches).values())
    assert not any(rig.read(rig.topics.links).values())

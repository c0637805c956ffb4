"""Two deployments under one prefix and group: one works, the other stands by, says so, and takes over when that has gone."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Config, EngineSection, ModelSection, PolicySection, ServiceSection
from detector.errors import FatalError
from detector.service import deployment
from detector.service.deployment import Deployment, Peer, in_force, peers, refusal, seed_mark

HEX = st.text("0123456789abcdef", min_size=1, max_size=12)
DEPLOYMENTS = st.builds(Deployment, HEX, HEX | st.just("none"), HEX, shadow=st.booleans())


class Admin:
    """A broker that tells of one group."""

    def __init__(self, *members: dict[str, Any]) -> None:
        self._members = members

    def describe_groups(self, groups: Sequence[str]) -> dict[str, Any]:
        return {group: {"members": self._members if group == groups[0] else ()} for group in groups}


@given(DEPLOYMENTS, st.integers(0, 10**13 - 1))
def test_peers_are_known_by_their_client_ids(settings: Deployment, started_ms: int) -> None:
    """What a worker is called is read by the others; other programs, and versions that were called otherwise, are not there."""
    assert Deployment.read(str(settings)) == settings
    peer = Peer(settings, started_ms)
    told = {"client_id": peer.client_id, "client_host": "/10.0.0.7", "group_instance_id": "group-host-0"}
    others = [{"client_id": text} for text in ("kafka-python-3.0.12", "detector.x.1", "detector.a-b-c-dead.1", "")]
    assert peers(Admin(told, *others), ["g.ingest", "g"]) == [Peer(settings, started_ms, "10.0.0.7", "group-host-0")]


@given(st.lists(st.builds(Peer, DEPLOYMENTS, st.integers(0, 5)), min_size=1, max_size=6))
def test_exactly_one_deployment_is_in_force(there: list[Peer]) -> None:
    """Whoever asks gets the same answer, so of several that met by accident all but one leave."""
    staying = {peer.deployment for peer in there if in_force(peer, there, None) is None}
    assert len(staying) == 1
    newcomer = Peer(Deployment("new", "none", "0", shadow=False), 0)
    found = in_force(newcomer, there, None)
    assert found is not None
    assert {found.deployment} == staying or found.deployment == newcomer.deployment


def test_predecessors_on_our_host_do_not_count() -> None:
    """A static member keeps its place in the group for a while after it has ended: the next one of that name takes it."""
    old = Peer(Deployment("old", "none", "0", shadow=True), 1, member="group-host-1")
    new = Peer(Deployment("new", "none", "0", shadow=True), 2, member="group-host-0")
    assert in_force(new, [old], "group-host-") is None
    assert in_force(new, [old], None) is old
    assert in_force(new, [old], "group-elsewhere-") is old


def test_what_makes_a_deployment() -> None:
    """Configuration, shadow mode and the secret seed do, of which nothing can be read; where it runs does not."""
    plain = Deployment.of(Config(), None)
    assert plain == Deployment.of(Config(service=ServiceSection(port=1)), None)
    seeded = Deployment.of(Config(engine=EngineSection(seed=5)), None)
    assert (seeded.configuration, seeded.seed != plain.seed) == (plain.configuration, True)
    assert seed_mark(5) == seeded.seed
    assert len(seeded.seed) == 8
    live = Config(policy=PolicySection(shadow=False, trust_clients=True), engine=EngineSection(seed=5))
    assert Deployment.of(live, None).shadow != plain.shadow


def test_policy_that_may_change_under_a_running_service_makes_none() -> None:
    """A worker that has read its policy again, and one that starts under it, work side by side; whom to trust does count."""
    plain = Deployment.of(Config(), None)
    tried = Config(policy=PolicySection(never_block=("a",), stopped_share=0.5), models={"fraud": ModelSection(shadow=True)})
    assert Deployment.of(tried, None) == plain
    assert tried.version != Config().version
    assert Deployment.of(Config(models={"fraud": ModelSection(dimension=7)}), None) != plain
    assert Deployment.of(Config(policy=PolicySection(trust_clients=False)), None) != plain


def test_the_sentence_names_both_and_what_to_do() -> None:
    """Prefix, group, host, since when, both settings, and the two ways out."""
    theirs = Peer(Deployment("aa", "b1", "01", shadow=True), 1_777_890_667_000, "10.0.0.7")
    ours = Peer(Deployment("cc", "none", "02", shadow=False), 1_777_890_999_000)
    said = refusal(ours, theirs, "detector.", "detect")
    for words in (
        "prefix 'detector.' and group_id 'detect', on 10.0.0.7 since 2026-05-04T10:31:07.000Z",
        "configuration aa (shadow mode), baseline b1, seed mark 01",
        "ours is configuration cc, no baseline, seed mark 02",
        "stop its workers",
        "its own prefix and group_id",
    ):
        assert words in said


def _other(rig: Any) -> Any:
    """Return the rig's configuration in shadow mode; under another seed it could not read the state."""
    return rig.config.model_copy(update={"policy": PolicySection(shadow=True)})


def _simulated(rig: Any) -> set[bool]:
    return {json.loads(record.value)["simulated"] for records in rig.read(rig.topics.decisions).values() for record in records}


@pytest.mark.broker
def test_the_second_stands_by(rig: Any, stolen: list[bytes]) -> None:
    """While the first works everything is its own: the second reads nothing, says why, and is ready to follow."""
    real = rig.config
    rig.produce(stolen[:900])
    with rig.thread() as first:
        rig.wait_until(lambda: first.status().partitions)
        rig.config = _other(rig)
        with rig.thread() as second:
            rig.config = real
            rig.wait_until(lambda: second.status().degraded)
            status = second.status()
            assert status.ready, "a rolling change waits for readiness"
            assert "another deployment works under [kafka] prefix" in (status.degraded or "")
            rig.wait_done()
            assert second.status().read == 0
            assert _simulated(rig) == {False}
            rig.verify(repeats=False)


@pytest.mark.broker
def test_a_rolling_change_of_settings(rig: Any, stolen: list[bytes]) -> None:
    """New workers that stand by take over when the last old one ends, without anybody's doing, and all events are counted."""
    rig.produce(stolen[:700])
    old = rig.start()
    rig.wait_until(lambda: rig.lag() < 700)
    rig.config = _other(rig)
    with rig.thread() as new:
        rig.wait_until(lambda: new.status().degraded)
        old.end()
        rig.produce(stolen[700:])
        rig.wait_done()
        assert len(new.status().partitions) == rig.partitions
        assert new.status().degraded is None
    assert "standing by" not in old.said()


@pytest.mark.broker
def test_two_that_start_at_once(rig: Any, stolen: list[bytes]) -> None:
    """Neither sees the other before it joins; one of them leaves before it has decided anything."""
    rig.produce(stolen)
    real = rig.config
    other = _other(rig)
    with rig.thread() as first:
        rig.config = other
        with rig.thread() as second:
            rig.wait_done()
            rig.wait_until(lambda: first.status().degraded or second.status().degraded)
    rig.config = real
    assert len(_simulated(rig)) == 1


@pytest.mark.broker
def test_who_stands_by_for_long_ends(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second deployment that is a mistake ends with the sentence, and the first never notices."""
    monkeypatch.setattr(deployment, "PATIENCE_S", 3.0)
    with rig.thread() as first:
        rig.wait_until(lambda: len(first.status().partitions) == rig.partitions)
        rig.config = _other(rig)
        with pytest.raises(FatalError, match=r"another deployment works .* its own prefix and group_id"), rig.thread():
            rig.wait_failed()
        assert first.status().ready


@pytest.mark.broker
def test_the_other_client_is_known_as_well(rig_at: Callable[..., Any], broker: str) -> None:
    """Workers that read with librdkafka bear the same names."""
    pytest.importorskip("confluent_kafka")
    rig = rig_at(broker, client="confluent")
    with rig.thread() as first:
        rig.wait_until(lambda: len(first.status().partitions) == rig.partitions)
        with rig.admin() as admin:
            group = rig.config.kafka.group_id
            found = peers(admin, [group])
        assert [peer.deployment for peer in found] == [Deployment.of(rig.config, None)]

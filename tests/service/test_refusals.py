"""What is refused: no client, and no few, can make the service say that it is blind, and it says so when it is."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from structlog.testing import capture_logs

from detector.ingest.batch import Batch, Sender
from detector.service import refusals
from detector.service.refusals import (
    CAP,
    JUDGE_EVERY_S,
    LEAST,
    MANY,
    MOST_CELLS,
    SAMPLE,
    SEVERAL,
    TELL_EVERY_S,
    WINDOW_S,
    RefusalMonitor,
    Refused,
)
from detector.service.telemetry.metrics import Metrics

HERE, THERE = TopicPartition("log", 0), TopicPartition("log", 1)


def events(clients: Sequence[str], model: str = "fraud", first: int = 0) -> Batch:
    n = len(clients)
    return Batch(
        model=model,
        sequence=np.arange(first, first + n),
        time=np.arange(n),
        client=clients,
        event_id=[str(i) for i in range(n)],
        vector=np.zeros((n, 2), np.float32),
        label=np.zeros(n, np.int32),
        confidence=np.full(n, np.nan, np.float32),
        runner_up=np.full(n, np.nan, np.float32),
        weight=np.ones(n, np.float32),
        sender=[Sender()] * n,
        version=[None] * n,
        refused=np.zeros(n, np.uint8),
        digest=np.zeros(n, np.uint64),
    )


def _here(_: int) -> TopicPartition:
    return HERE


class Stage:
    """A stage that refuses what it is told to, and a clock."""

    def __init__(self, ratio: float = 0.5) -> None:
        self.now_s = 0.0
        self.metrics = Metrics()
        self.refusals = RefusalMonitor("detect", ratio, self.metrics, lambda: self.now_s)
        self._sequence = 0

    def take(
        self,
        good: Sequence[str] = (),
        bad: Sequence[str | None] = (),
        *,
        model: str | None = "fraud",
        reason: str = "dimension",
        place: TopicPartition = HERE,
    ) -> None:
        """Pass a batch on, with events of the clients `good` and refusals of the clients `bad`."""
        batch = events(good, model or "fraud", self._sequence)
        self._sequence += len(good)
        refused = [
            Refused(self._sequence + i, reason, f"an example of {reason}", client, model) for i, client in enumerate(bad)
        ]
        self._sequence += len(bad)
        self.refusals.note([batch], refused, (), lambda _: place)

    def judged(self) -> str | None:
        """Let it judge, and return what it finds."""
        self.now_s += JUDGE_EVERY_S
        self.refusals.check()
        return self.refusals.trouble


@given(
    floods=st.lists(st.tuples(st.integers(0, SEVERAL - 2), st.integers(1, 20_000)), min_size=1, max_size=8),
    good=st.lists(st.sampled_from(["a", "b", "c"]), max_size=40),
    reason=st.sampled_from(["dimension", "schema", "future", "oversized"]),
)
def test_few_clients_bring_about_nothing(floods: list[tuple[int, int]], good: list[str], reason: str) -> None:
    """However much fewer than several clients send that is refused, and however little the others send: nothing is said."""
    stage = Stage()
    for number, count in floods:
        stage.take(bad=[f"flood-{number}"] * count, reason=reason)
        assert stage.judged() is None
        stage.take(good)
        assert stage.judged() is None


@given(count=st.integers(1, 5000), others=st.integers(1, 5))
def test_unread_clients_bring_about_nothing_beside_others(count: int, others: int) -> None:
    """What bears no readable client counts as one client of its partition: while others are read there, nothing is said."""
    stage = Stage()
    stage.take([f"c-{i}" for i in range(others)] * 3, [None] * count, model=None)
    assert stage.judged() is None


@given(late=st.integers(1, 5000), clients=st.integers(1, 30))
def test_late_events_never_count(late: int, clients: int) -> None:
    """A delayed shipper brings late events of everybody, of a whole partition and model: that is no blindness."""
    stage = Stage()
    stage.take(bad=[f"c-{i % clients}" for i in range(late)], reason="late")
    assert stage.judged() is None


def test_a_model_whose_records_are_all_refused() -> None:
    """From several clients it is told, with model, commonest reason and example; one that is read ends it at once."""
    stage = Stage()
    stage.take([f"other-{i}" for i in range(50)], model="churn")
    stage.take(bad=["a", "b"] * LEAST)
    assert stage.judged() is None, "two clients are not several"
    with capture_logs() as said:
        stage.take(bad=["c"] * 3)
        stage.take(bad=["c"], reason="schema")
        assert stage.judged() == "all recent records of model 'fraud' are refused, most as 'dimension'"
        assert [(line["log_level"], line["clients"], line["example"]) for line in said] == [
            ("warning", 3, "an example of dimension")
        ]
        assert 'detector_degraded{reason="model",stage="detect"} 1.0' in stage.metrics.text().decode()
        stage.take(["a", "b", "c"])
        assert stage.judged() is None
    assert [line["log_level"] for line in said] == ["warning", "info"]
    assert 'detector_degraded{reason="model",stage="detect"} 0.0' in stage.metrics.text().decode()


def test_a_few_records_are_no_sign() -> None:
    """A model of which fewer records than enough came is not judged."""
    stage = Stage()
    stage.take(bad=[f"c-{i % SEVERAL}" for i in range(LEAST - 1)])
    assert stage.judged() is None
    stage.take(bad=["c-0"])
    assert stage.judged() is not None


def test_a_partition_whose_records_are_all_refused() -> None:
    """A log with a new format, of which no client can be read, is told by its partition."""
    stage = Stage()
    stage.take(["a", "b"] * 50, place=THERE)
    stage.take(bad=[None] * LEAST, model=None, reason="json")
    assert stage.judged() == "all recent records of partition log-0 are refused, most as 'json'"
    stage.take(["a"])
    assert stage.judged() is None


def test_one_client_alone_on_a_partition() -> None:
    """A partition that only one client uses says nothing of anybody else."""
    stage = Stage()
    stage.take(["a", "b"] * 50, place=THERE)
    stage.take(bad=["alone"] * 5000)
    assert stage.judged() is None


@pytest.mark.parametrize(("ratio", "said"), [(0.4, True), (0.5, False), (1.0, False)])
def test_many_clients_are_told_by_their_share(ratio: float, *, said: bool) -> None:
    """Half of the clients refused is more than 0.4 and not more than 0.5; records do not matter, and one each is enough."""
    stage = Stage(ratio)
    for _ in range(3):
        stage.take([f"good-{i}" for i in range(MANY)], [f"bad-{i}" for i in range(MANY)])
    stage.take(["good-0"] * 5000)
    assert (stage.judged() is not None) == said


def test_ratio_one_never_says_anything() -> None:
    """Who wants to hear nothing sets 1."""
    stage = Stage(1.0)
    stage.take(bad=[f"c-{i % 30}" for i in range(5000)])
    assert stage.judged() is None


def test_it_ends_by_itself() -> None:
    """Clients that are read again outweigh what they sent before, soon; and what came long ago counts no more."""
    stage = Stage(0.3)
    clients = [f"c-{i}" for i in range(2 * MANY)]
    stage.take(bad=clients * 50)
    assert stage.judged() is not None
    for _ in range(4):
        stage.take(clients * CAP)
    assert stage.judged() is None
    stage.take(bad=clients * 50)
    assert stage.judged() is not None
    stage.now_s += WINDOW_S
    assert stage.judged() is None


def test_it_is_said_once_a_minute() -> None:
    """Who can switch it on and off, with many accounts, cannot fill the log."""
    stage = Stage(0.9)
    names = [f"c-{i}" for i in range(SEVERAL)] * LEAST
    with capture_logs() as said:
        for _ in range(10):
            stage.take(bad=names)
            stage.judged()
            stage.take(["somebody"] * 20)
            stage.judged()
    assert 1 <= len(said) <= 2 * (1 + int(stage.now_s / TELL_EVERY_S)) < 10


def test_it_is_bounded() -> None:
    """A flood of client and model names takes only so much memory, and the text of an example only so much of a line."""
    stage = Stage()
    for first in range(0, 2 * MOST_CELLS, SAMPLE):
        names = [(i, f"c-{i}", f"m-{i % 500}") for i in range(first, first + SAMPLE)]
        stage.refusals.note([], [Refused(i, "schema", "x" * 10_000, client, model) for i, client, model in names], (), _here)
    assert len(stage.refusals._cells) == MOST_CELLS
    with capture_logs() as said:
        assert stage.judged() is not None
    assert len(said[0]["example"]) == refusals.MOST_TOLD


def test_the_client_is_taken_from_the_event() -> None:
    """Refusals of the engine name a place among the events, whose client and model they are."""
    stage = Stage()
    batch = events([f"c-{i % SEVERAL}" for i in range(60)], first=700)
    stage.refusals.note([batch], (), [Refused(i, "dimension", "9 numbers") for i in range(700, 760)], _here)
    said = stage.judged()
    assert said is not None
    assert said.startswith("all recent records of model 'fraud' are refused, most as 'dimension'")


def test_control_characters_stay_out_of_the_log() -> None:
    """An example is what somebody sent."""
    stage = Stage()
    stage.refusals.note([], [Refused(i, "json", "\x1b[2J") for i in range(LEAST)], (), _here)
    with capture_logs() as said:
        stage.judged()
    assert said[0]["example"] == "·[2J"


def _counting(count: list[int]) -> Callable[[int], TopicPartition]:
    def place(_: int) -> TopicPartition:
        count.append(1)
        return HERE

    return place


def test_little_is_counted_while_nothing_is_refused() -> None:
    """Good events cost next to nothing as long as there were no refusals lately: one batch a second is counted."""
    stage = Stage()
    calls: list[int] = []
    for _ in range(10):
        stage.refusals.note([events(["a"] * 100)], (), (), _counting(calls))
    assert len(calls) == 100
    stage.take(bad=["b"])
    for _ in range(2):
        stage.refusals.note([events(["a"] * 100, first=1000)], (), (), _counting(calls))
    assert len(calls) == 300


def test_who_was_read_before_is_known() -> None:
    """Several clients that begin to send what is refused find the others already counted."""
    stage = Stage()
    stage.take(["a", "b"])
    stage.take(bad=[f"c-{i}" for i in range(SEVERAL)] * LEAST)
    assert stage.judged() is None


@pytest.mark.parametrize(("ratio", "said"), [(0.45, True), (0.5, False)])
def test_a_large_batch_is_looked_at_in_part(ratio: float, *, said: bool) -> None:
    """What is refused and what is not weigh as they came, and what is rare is looked at all the same."""
    stage = Stage(ratio)
    calls: list[int] = []
    batch = events([f"c-{i % 40}" for i in range(8000)])
    bad = [Refused(i, "dimension", "9 numbers") for i in range(0, 8000, 2)]
    for _ in range(30):
        stage.refusals.note([batch], (), bad, _counting(calls))
    assert 0 < len(calls) <= 60 * SAMPLE
    assert stage.judged() == ("most recent records of 20 clients are refused, most as 'dimension'" if said else None)
    rare = events(["a"] * 4000 + ["b"], first=8000)
    stage.refusals.note([rare], (), [Refused(8000 + i, "dimension", "9 numbers") for i in range(4000)], _counting(calls))
    assert any(client == "b" for _, _, client in stage.refusals._cells)

"""Clients whose queries cannot be used, or come under one id: who is out of line, and who is not."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detector.engine.columns import allocate
from detector.engine.memory.admission import REFUSED, Admitted
from detector.engine.memory.conduct import FIRST, MEMORY, Conduct, evidence, nobody, update_conduct
from detector.testing import Events, MemorySink, watch
from tests.engine.memory.unadmitted import unadmitted

NAN = "NaN"


def test_evidence_keeps_its_promise_however_often_one_looks() -> None:
    """Of clients who keep to the usual share, fewer pass ln(1 / p) at any of their evaluations than p."""
    rng = np.random.default_rng(5)
    passed = 0
    for _ in range(2000):
        hits = np.cumsum(rng.random(400) < 0.05)
        passed += max(evidence(int(hits[n]), n + 1, 0.05) for n in range(0, 400, 8)) >= math.log(20)
    assert passed <= 100


def test_evidence_grows_with_what_cannot_be_chance() -> None:
    """All of eight is more than half of eight, and that is more than none."""
    found = [evidence(hits, 8, 0.02) for hits in (0, 4, 8)]
    assert found[0] == 0.0 < found[1] < found[2]
    assert evidence(50, 100, 1.0) == 0.0


def log(bad: Callable[[str, int], dict[str, Any]], *, clients: int = 12, queries: int = 60, dimension: int = 60) -> list[bytes]:
    """Return a log of clients in turn; `bad` changes records."""
    rng = np.random.default_rng(3)
    events = Events()
    lines = []
    for turn in range(queries):
        for number in range(clients):
            name = f"c{number}"
            line = events.line(name, rng.random(dimension), int(rng.integers(2)))
            lines.append(json.dumps(json.loads(line) | bad(name, turn)).encode())
    return lines


def alerts(seen: MemorySink) -> dict[str, str]:
    return {alert.user.id: alert.detector.evidence[0].name for alert in seen.raised}


REFUSALS: dict[str, dict[str, Any]] = {
    "null in a picture": {"input": {"vector": [None, *([0.5] * 59)]}},
    "a wrong length": {"input": {"vector": [0.5] * 61}},
    "not finite": {"input": {"vector": [math.nan] * 60}},
    "no output": {"output": {}},
    "an id that is too long": {"event_id": "x" * 257},
}


@pytest.mark.parametrize("how", REFUSALS)
def test_whoever_cannot_be_read_is_named(how: str) -> None:
    """One alert, which names the client; it counts its queries, and its record has them by reason."""
    seen = watch(log(lambda name, _: REFUSALS[how] if name == "c7" else {}))
    assert alerts(seen) == {"c7": "refused"}
    (alert,) = seen.raised
    assert alert.detector.action == "alert"
    assert "could not be used" in alert.event.reason
    assert alert.detector.queries >= 8
    (line,) = [line for line in seen.reported if line["client"] == "c7"]
    assert sum(line["refused"].values()) == 60
    assert line["queries"] == 0
    assert len(seen.dead) == 60
    assert not seen.decided


def test_a_share_of_refused_queries_is_enough() -> None:
    """A thief who hides every third query is out of line with clients who have one bad record in sixty."""
    seen = watch(
        log(
            lambda name, turn: (
                REFUSALS["not finite"] if (name == "c3" and turn % 3 == 0) or (turn + int(name[1:])) % 60 == 0 else {}
            )
        )
    )
    assert alerts(seen) == {"c3": "refused"}


def test_what_everybody_does_is_nobody_s_fault() -> None:
    """A deployment that breaks every client's records raises no alert on any of them."""
    seen = watch(log(lambda _, turn: REFUSALS["not finite"] if turn % 2 else {}))
    assert alerts(seen) == {}


def test_one_id_for_different_queries_is_named() -> None:
    """Its queries count all the same."""
    seen = watch(log(lambda name, turn: {"event_id": f"mine-{turn // 40}"} if name == "c5" else {}))
    assert alerts(seen) == {"c5": "reused"}
    (line,) = [line for line in seen.reported if line["client"] == "c5"]
    assert (line["queries"], line["reused"]) == (60, 58)


def test_a_request_that_was_sent_again_is_no_reuse() -> None:
    """Retries have the id and the content of the first."""
    lines = log(lambda *_: {})
    seen = watch([line for line in lines for _ in range(2)])
    assert alerts(seen) == {}
    assert all(line["reused"] == 0 for line in seen.reported)


def test_cuts_of_the_stream_change_nothing() -> None:
    """Counts, shares of the population and alerts are those of the stream."""
    lines = log(lambda name, turn: REFUSALS["a wrong length"] if name in {"c1", "c7"} and turn % 2 else {})
    whole = watch(lines).written()
    for chunk in (1, 7, 100):
        assert watch(lines, chunk=chunk).written() == whole
    assert len(whole["alerts"].splitlines()) == 2


def test_the_population_forgets() -> None:
    """After so many evaluations of others, what was usual long ago no longer is."""
    clients = 2 * MEMORY
    state = allocate(Conduct, clients)
    population = nobody()

    def meet(client: int, code: int) -> None:
        admitted: Admitted = unadmitted(FIRST)
        admitted.verdict[:] = REFUSED if code else 0
        admitted.position[:] = 0 if code else np.arange(1, FIRST + 1)
        refused = np.full(FIRST, code, np.uint8)
        update_conduct(state, population, np.full(FIRST, client), admitted, refused, np.zeros((FIRST, 2, 4)))

    for client in range(20):
        meet(client, 1)
    assert (population[0], population[2]) == (20, 1.0)
    for client in range(20, clients):
        meet(client, 0)
    assert population[2] < 0.1

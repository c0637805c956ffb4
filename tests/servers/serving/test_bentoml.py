"""A real BentoML service, and the log files that its monitors write."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detector.redteam.conversation import Array
from detector.redteam.targets import named
from detector.redteam.victim import digits_victim
from tests.servers.serving.bentoml import LocalBentoml
from tests.servers.serving.judged import Query, judged, native
from tests.servers.serving.play import cast, play
from tests.servers.serving.server import Serving

pytestmark = pytest.mark.slow

RULES = ({"path": "caller", "trusted": True},)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its client knows it; the id is that of the answer's header."""

    request_id: int
    way: str
    client: str
    rows: Array
    answers: Array
    sent_ms: float
    answered_ms: float


class Caller:
    """Asks the service."""

    def __init__(self, server: LocalBentoml) -> None:
        self.server = server
        self._http = server.connection()
        self.asked: list[Asked] = []

    def ask(self, client: str, rows: Array, way: str) -> Array:
        """Ask about rows on one of the service's two ways."""
        sent = time.time() * 1000
        headers = {"Content-Type": "application/json", "X-Consumer-Id": client}
        self._http.request("POST", f"/{way}", json.dumps({"rows": rows.tolist()}), headers)
        answer = self._http.getresponse()
        answers = np.asarray(json.loads(answer.read()))
        number = int(answer.headers["X-BentoML-Request-Id"], 16)
        self.asked.append(Asked(number, way, client, rows, answers, sent, time.time() * 1000))
        return answers


@pytest.fixture
def caller(installed: Callable[[type[Serving]], None]) -> Iterator[Caller]:
    """Return a caller of a service that runs."""
    installed(LocalBentoml)
    with LocalBentoml(digits_victim(7).training) as server:
        yield Caller(server)
    until = time.monotonic() + 10
    while server.strays() and time.monotonic() < until:
        time.sleep(0.1)
    assert not server.strays()


def queries(caller: Caller) -> Iterator[Query]:
    """Yield what was asked, with the ids and times of the rows that were logged of it; the times must be the caller's."""
    logged: dict[int, list[bytes]] = defaultdict(list)
    for file in sorted(caller.server.monitoring.glob("*/data/*.log")):
        for line in file.read_bytes().splitlines():
            logged[int(json.loads(line)["request_id"])].append(line)
    for asked in caller.asked:
        assert len(logged[asked.request_id]) == len(asked.rows)
        for row, answer, line in zip(asked.rows, asked.answers, logged[asked.request_id], strict=True):
            moment = datetime.fromisoformat(json.loads(line)["timestamp"]).replace(tzinfo=ZoneInfo("Asia/Kolkata"))
            assert asked.sent_ms <= moment.timestamp() * 1000 <= asked.answered_ms
            yield Query(
                f"{asked.request_id}#{blake2b(line, digest_size=8).hexdigest()}",
                int(moment.timestamp() * 1_000_000) // 1000,
                asked.client,
                row.tolist(),
                int(answer.argmax()) if asked.way == "columns" else None,
                answer.tolist(),
                {"client": {"trusted": True}},
            )


def test_it_is_judged_as_native_events_are(caller: Caller, tmp_path: Path) -> None:
    """Inputs in a column each and as one sequence, several rows a request, and two monitors that share a file."""
    target = named("digits:7")
    *most, last = cast(target)
    play(most, lambda client, vector: caller.ask(client, vector[None], "columns")[0])
    play([last], lambda client, vector: caller.ask(client, vector[None], "sequence")[0])
    caller.ask("steady-1", target.test[:5], "columns")
    files = {file.parents[1].name: file.read_text() for file in caller.server.monitoring.glob("*/data/*.log")}
    assert '"pixel 0"' in files["whole digits"]  # that monitor began second
    expected = judged(native(list(queries(caller)), "digits", tmp_path / "native.jsonl"), tmp_path / "native")
    assert expected.decided() == {"thief-jbda-1"}
    for log_format in ("bentoml", "auto"):
        found = judged(caller.server.monitoring, tmp_path / log_format, format=log_format, clients=RULES)
        assert (found.alerts, found.decisions) == (expected.alerts, expected.decisions)
        assert found.clients == expected.clients
        assert not found.dead_letters

"""A real MLServer behind events as KServe's logger sends them, through the HTTP intake."""

import json
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.redteam.conversation import Array
from detector.redteam.targets import named
from detector.redteam.victim import digits_victim
from tests.servers.serving.judged import Query, judged, native
from tests.servers.serving.mlserver import MODEL, LocalMlserver
from tests.servers.serving.play import cast, play
from tests.servers.serving.server import Serving
from tests.servers.serving.taken import Taken, intake

pytestmark = [
    pytest.mark.slow,
    pytest.mark.broker,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="MLServer 1.7.1 runs on Python 3.12 at most"),
]

TYPE = "org.kubeflow.serving.inference"
RULES = ({"header": "X-Consumer-Id", "trusted": True},)


class Agent:
    """Stands before the server as KServe's agent does: passes requests on, and logs both bodies as they are."""

    def __init__(self, server: LocalMlserver, taken: Taken) -> None:
        self._server = server
        self._http = server.connection()
        self._taken = taken
        self.queries: list[Query] = []

    def ask(self, client: str, rows: Array, outputs: tuple[str, ...], *, flat: bool = True, answer_first: bool = False) -> Any:
        """Ask about rows; return the outputs by name. An answer that is not 200 is not logged."""
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": (rows.ravel() if flat else rows).tolist()}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": name} for name in outputs]}).encode()
        call, asked_ns = str(uuid.uuid4()), time.time_ns()
        self._http.request(
            "POST", f"/v2/models/{MODEL}/infer", body, {"Content-Type": "application/json", "X-Consumer-Id": client}
        )
        answer = self._http.getresponse()
        answered, answered_ns = answer.read(), time.time_ns()
        events = [("request", body, asked_ns)]
        if answer.status == 200:
            events.append(("response", answered, answered_ns))
        else:
            self._http.close()
        for half, content, time_ns in reversed(events) if answer_first else events:
            self._log(half, call, client, content, time_ns)
        if answer.status != 200:
            return None
        told = {output["name"]: np.reshape(output["data"], output["shape"]) for output in json.loads(answered)["outputs"]}
        times = asked_ns // 1_000_000, answered_ns // 1_000_000
        for place, row in enumerate(rows):
            self.queries.append(
                Query(
                    call if len(rows) == 1 else f"{call}#{place}",
                    times[0],
                    client,
                    row.tolist(),
                    int(told["predict"][place].item()) if "predict" in told else None,
                    told["predict_proba"][place].tolist() if "predict_proba" in told else None,
                    {"latency_ms": times[1] - times[0], "client": {"trusted": True}},
                )
            )
        return told

    def _log(self, half: str, call: str, client: str, body: bytes, time_ns: int) -> None:
        second, rest = divmod(time_ns, 1_000_000_000)
        attributes = {
            "specversion": "1.0",
            "type": f"{TYPE}.{half}",
            "id": call,
            "source": "http://localhost:9081/",
            "time": f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z",
            "inferenceservicename": "digits",
            "namespace": "models",
            "component": "predictor",
            "endpoint": "default",
            "metadata": json.dumps({"X-Consumer-Id": [client]}),
        }
        headers = {f"Ce-{name.capitalize()}": text for name, text in attributes.items()}
        self._taken.post(body, {**headers, "Content-Type": "application/json"})


@pytest.fixture
def agent(installed: Callable[[type[Serving]], None], broker: str) -> Any:
    """Return an agent that logs to an intake."""
    installed(LocalMlserver)
    with LocalMlserver(digits_victim(7).training) as server, intake(broker) as taken:
        yield Agent(server, taken), taken


def test_it_is_judged_as_native_events_are(agent: tuple[Agent, Taken], tmp_path: Path) -> None:
    """Answers of probabilities, labels and both, batches, an answer logged before its request, and one that never came."""
    asking, taken = agent
    target = named("digits:7")

    def ask(client: str, vector: Array) -> Array:
        rows = vector[None]
        if client.startswith("thief"):
            return np.asarray(asking.ask(client, rows, ("predict_proba",))["predict_proba"][0])
        if client.startswith("steady"):
            told = asking.ask(client, rows, ("predict", "predict_proba"), flat=False, answer_first=True)
            return np.asarray(told["predict_proba"][0])
        return np.asarray(np.eye(10)[asking.ask(client, rows, ("predict",))["predict"][0].item()])

    play(cast(target), ask)
    asking.ask("steady-1", target.test[:5], ("predict_proba", "predict"))
    assert asking.ask("broken-1", np.zeros((1, 3)), ("predict_proba",)) is None
    log = taken.dump(tmp_path / "dump.jsonl")
    expected = judged(native(asking.queries, "models/digits", tmp_path / "native.jsonl"), tmp_path / "native")
    assert expected.decided() == {"thief-jbda-1"}
    assert not expected.dead_letters
    for log_format in ("kserve", "auto"):
        found = judged(log, tmp_path / log_format, format=log_format, envelope="kcat", clients=RULES)
        assert found.alerts == expected.alerts
        assert found.decisions == expected.decisions
        assert [client for client in found.of_clients() if client["client"] != "broken-1"] == expected.of_clients()
        assert [letter["reason"] for letter in found.dead_letters] == ["unanswered"]

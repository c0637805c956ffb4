"""A real LiteLLM proxy before a language model, and the log that its own callback posts to the HTTP intake."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.contracts.decision import Action
from detector.engine.shard import EngineSettings
from detector.ingest.formats.generated import digest_of
from detector.ingest.formats.texts import text_vector
from detector.redteam.texts import TOPICS, plan, worded
from detector.testing import Events, batches
from tests.gate.decisions import value
from tests.servers.gate import LocalGate
from tests.servers.serving.judged import Query, judged, native
from tests.servers.serving.language_model import REFUSED, LanguageModel, said_about
from tests.servers.serving.litellm import LocalLitellm
from tests.servers.serving.server import Serving
from tests.servers.serving.taken import KEY, Taken, intake

pytestmark = [pytest.mark.slow, pytest.mark.broker]

AGENT = "desk/1.0"
THIEF, EDITOR, INNOCENTS = "sk-thief", "sk-editor", ("sk-desk-1", "sk-desk-2")
PATIENCE_S = 30.0
LATER_MS = 4_000_000_000_000


def hashed(key: str) -> str:
    """Return what LiteLLM calls a key in its log."""
    return hashlib.sha256(key.encode()).hexdigest()


class Caller:
    """Asks the proxy, and keeps what was asked and answered by the id of the answer."""

    def __init__(self, proxy: LocalLitellm) -> None:
        self._http = proxy.connection()
        self.asked: dict[str, tuple[Query, float, float]] = {}

    def ask(self, key: str, text: str, *, stream: bool = False) -> None:
        """Ask for a chat's next message."""
        sent = time.time()
        body = {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": text}]}
        status, content = self.post(key, "chat/completions", body)
        assert status == 200, content
        identity, answer = _streamed(content) if stream else _whole(content)
        assert answer == said_about(text)
        more = {"input": {"text": text}, "client": {"type": "api_key", "trusted": True, "ip": "127.0.0.1", "user_agent": AGENT}}
        query = Query(identity, 0, hashed(key), (), digest_of(answer), None, more)
        self.asked[identity] = query, sent, time.time()

    def post(self, key: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Send one request to the proxy."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "User-Agent": AGENT}
        self._http.request("POST", f"/v1/{path}", json.dumps(body), headers)
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def queries(self, logged: list[dict[str, Any]]) -> Iterator[Query]:
        """Yield what was asked in the order of the log, with its times; they must be the caller's."""
        chats = [entry for entry in logged if entry["id"] in self.asked]
        assert {entry["id"] for entry in chats} == set(self.asked)
        for entry in chats:
            query, sent, answered = self.asked[entry["id"]]
            assert sent <= entry["startTime"] <= answered
            known = {**query.more, "latency_ms": round(entry["response_time"] * 1000, 3)}
            yield Query(query.event_id, int(entry["startTime"] * 1000), query.client, (), query.label, None, known)


def _whole(content: bytes) -> tuple[str, str]:
    answer = json.loads(content)
    return answer["id"], answer["choices"][0]["message"]["content"]


def _streamed(content: bytes) -> tuple[str, str]:
    chunks = [json.loads(line[6:]) for line in content.splitlines() if line.startswith(b"data: {")]
    return chunks[0]["id"], "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


@pytest.fixture(scope="module")
def running(
    installed: Callable[[type[Serving]], None], broker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalLitellm, Taken]]:
    """Return a proxy that asks a gate, and the intake that it logs to."""
    installed(LocalLitellm)
    file = tmp_path_factory.mktemp("decisions") / "decisions.jsonl"
    decided: tuple[tuple[str, Action], ...] = (("blocked", "block"), ("hasty", "throttle"), ("suspect", "perturb"))
    lines = [value(client, action, models=None, rate=0, expires_ms=LATER_MS) for client, action in decided]
    file.write_bytes(b"\n".join([*lines, b""]))
    with ExitStack() as stack:
        model_url = stack.enter_context(LanguageModel())
        taken = stack.enter_context(intake(broker))
        gate = stack.enter_context(LocalGate({"decisions_file": str(file)}))
        gate.wait_until_ready()
        proxy = LocalLitellm(model_url, taken.url, KEY, f"http://127.0.0.1:{gate.port}")
        yield stack.enter_context(proxy), taken


@pytest.fixture
def caller(running: tuple[LocalLitellm, Taken]) -> tuple[Caller, Taken]:
    """Return a caller of that proxy, with a connection of its own: the proxy closes idle ones."""
    proxy, taken = running
    return Caller(proxy), taken


def logged(taken: Taken, count: int) -> list[dict[str, Any]]:
    """Wait until `count` calls are logged in both forms, arrays and lines; return what is."""
    until = time.monotonic() + PATIENCE_S
    while True:
        values = [record.value for record in taken.records()]
        found = [entry for value in values if value.startswith(b"[") for entry in json.loads(value)]
        lines = sum(len(value.splitlines()) for value in values if value.startswith(b"{"))
        if min(len(found), lines) >= count or time.monotonic() > until:
            assert len(found) == lines == count
            return found
        time.sleep(0.5)


def benign_baseline() -> Baseline:
    """Fit a baseline on what 25 clients of a support desk ask."""
    rng = np.random.default_rng(11)
    events = Events("chat", step_ms=25)
    lines = []
    for _ in range(40):
        for client in range(25):
            text = worded(plan(int(rng.integers(len(TOPICS))), rng), rng)
            lines.append(events.line(f"desk-{client}", text_vector(text), digest_of(said_about(text))))
    return fit_baseline(lambda: batches(lines), EngineSettings(seed=3))


def nonsense(rng: np.random.Generator) -> str:
    """Return words of random letters, as thieves of language models ask (Krishna et al., "Thieves on Sesame Street", 2020)."""
    lengths = rng.integers(3, 9, 12).tolist()
    return " ".join("".join(map(chr, rng.integers(ord("a"), ord("z") + 1, length).tolist())) for length in lengths)


def test_it_is_judged_as_native_events_are(caller: tuple[Caller, Taken], tmp_path: Path) -> None:
    """A thief asks nonsense. Streams are logged whole, failures are dead letters, texts to embed queries.

    Who varies single words of a text learns less than others from each answer: that client is named for review only.
    """
    asking, taken = caller
    rng, letters = np.random.default_rng(12), np.random.default_rng(12)
    words: list[str] = []
    for turn in range(30):
        for key in INNOCENTS:
            text = worded(plan(int(rng.integers(len(TOPICS))), rng), rng)
            asking.ask(key, text, stream=key == INNOCENTS[1])
        if turn % 6 == 0:
            words = worded(plan(int(rng.integers(len(TOPICS))), rng), rng).split()
        varied = [*words]
        varied[int(rng.integers(len(words)))] = "xyzzy"[: 1 + turn % 5]
        asking.ask(EDITOR, " ".join(varied))
        for _ in range(2):
            asking.ask(THIEF, nonsense(letters))
    refused = {"model": "chat", "messages": [{"role": "user", "content": REFUSED}]}
    assert asking.post("sk-other", "chat/completions", refused)[0] == 400
    assert asking.post("sk-other", "embeddings", {"model": "embedder", "input": ["one text", "another"]})[0] == 200
    found = logged(taken, len(asking.asked) + 2)
    baseline = benign_baseline()
    log = native(list(asking.queries(found)), "chat", tmp_path / "native.jsonl")
    expected = judged(log, tmp_path / "native", baseline)
    assert expected.decided() == {hashed(THIEF)}
    assert [client["client"] for client in expected.of_clients() if "unfamiliar" in client] == [hashed(EDITOR)]
    for log_format, begins in (("litellm", b"["), ("auto", b"{")):
        dump = taken.dump(tmp_path / f"{log_format}.jsonl", begins)
        seen = judged(dump, tmp_path / log_format, baseline, format=log_format, envelope="kcat")
        assert (seen.alerts, seen.decisions) == (expected.alerts, expected.decisions)
        clients = seen.of_clients()
        assert [client for client in clients if client["client"] != hashed("sk-other")] == expected.of_clients()
        others = {client["model"]: client["queries"] for client in clients if client["client"] == hashed("sk-other")}
        assert others["embedder"] == 2
        assert [letter["reason"] for letter in seen.dead_letters] == ["unanswered"]


def test_its_hook_refuses_and_takes_probabilities_away(caller: tuple[Caller, Taken]) -> None:
    """Each call asks the gate about LiteLLM's user, streams as well; who is perturbed gets the text without probabilities."""
    asking, _ = caller

    def ask(user: str, **more: Any) -> tuple[int, Any]:
        body = {"model": "chat", "logprobs": True, "messages": [{"role": "user", "content": "where is my parcel"}]}
        status, content = asking.post(f"sk-user-{user}", "chat/completions", body | more)
        return status, json.loads(content)

    for user, has in (("innocent", True), ("suspect", False)):
        status, answer = ask(user)
        (choice,) = answer["choices"]
        assert (status, choice["message"]["content"]) == (200, said_about("where is my parcel"))
        assert bool(choice.get("logprobs")) == has
    for user, refused in (("blocked", 403), ("hasty", 429)):
        for stream in (False, True):
            status, answer = ask(user, stream=stream)
            assert status == refused, answer
            assert "Access is limited" in str(answer)

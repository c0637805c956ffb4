import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from detector.errors import EndpointError
from detector.redteam.endpoint import Endpoint, Traffic
from detector.redteam.protocols import protocol_of


class Served(ThreadingHTTPServer):
    """A model server: answers what it is told to, in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/models/digits:predict"

    def reply(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.replies.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))


class _Handler(BaseHTTPRequestHandler):
    server: Served

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.asked.append((dict(self.headers), json.loads(self.rfile.read(length))))
        status, headers, body = self.server.replies.pop(0)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Served]:
    with Served() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join()


def test_rows_go_out_and_probabilities_come_back(server: Served) -> None:
    """The default form is KServe's; headers are sent along."""
    server.reply(200, {"predictions": [[0.25, 0.75], [1.0, 0.0]]})
    answers = Endpoint(server.url, headers={"Authorization": "Bearer x"})(np.array([[1.0, 2.0], [3.0, 4.5]]))
    assert answers.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    headers, document = server.asked[0]
    assert document == {"instances": [[1.0, 2.0], [3.0, 4.5]]}
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"


def test_keys_can_be_others_and_labels_become_certainties(server: Served) -> None:
    """A server that takes inputs and tells labels is understood once it is known how many there are."""
    server.reply(200, {"labels": [2, 0]})
    server.reply(200, {"labels": [2]})
    endpoint = Endpoint(server.url, "inputs", "labels", classes=3)
    assert endpoint(np.zeros((2, 2))).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert server.asked[0][1] == {"inputs": [[0.0, 0.0], [0.0, 0.0]]}
    with pytest.raises(EndpointError, match="how many classes"):
        Endpoint(server.url, response_key="labels")(np.zeros((1, 2)))


def test_passing_failures_are_tried_again_with_growing_pauses(server: Served) -> None:
    """Two refusals cost half a second and one; a server that says when to come back is obeyed, up to a minute."""
    pauses: list[float] = []
    endpoint = Endpoint(server.url, sleep=pauses.append)
    server.reply(503, b"busy")
    server.reply(500, b"")
    server.reply(429, b"slow down", Retry_After="7")
    server.reply(429, b"", Retry_After="3600")
    server.reply(200, {"predictions": [[1.0]]})
    assert endpoint(np.zeros((1, 1))).tolist() == [[1.0]]
    assert pauses == [0.5, 1.0, 7.0, 60.0]


def test_failures_that_stay_are_told(server: Served) -> None:
    """After five attempts, and at once where asking again is no use, the server's own words are in the message."""
    for _ in range(5):
        server.reply(503, b"busy")
    endpoint = Endpoint(server.url, sleep=lambda _: None)
    with pytest.raises(EndpointError, match="answered 503 Service Unavailable: busy"):
        endpoint(np.zeros((1, 1)))
    server.reply(401, b"no such key")
    with pytest.raises(EndpointError, match="answered 401 Unauthorized: no such key"):
        endpoint(np.zeros((1, 1)))
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>", "not JSON"),
        ([[0.5]], "without 'predictions'; there is: list"),
        ({"outputs": []}, "without 'predictions'; there is: outputs"),
        ({"predictions": []}, "asked about 2 rows"),
        ({"predictions": [[0.5], [0.2, 0.8]]}, "different lengths"),
        ({"predictions": [["a"], ["b"]]}, "where probabilities were expected"),
        ({"predictions": [[-0.5], [1.5]]}, "where probabilities were expected"),
        ({"predictions": [[], []]}, "where probabilities were expected"),
        ({"predictions": [True, False]}, "where probabilities were expected"),
        ({"predictions": [[10**400], [0]]}, "where probabilities were expected"),
        ({"predictions": [10**400, 0]}, "where probabilities were expected"),
    ],
)
def test_answers_of_another_form_are_refused_in_words(server: Served, content: Any, said: str) -> None:
    """Nothing is guessed."""
    server.reply(200, content)
    with pytest.raises(EndpointError, match=said):
        Endpoint(server.url)(np.zeros((2, 1)))


def test_nobody_at_home_is_an_error() -> None:
    """An address where nothing listens is said to be unreachable; a file is no address."""
    with Served() as gone:
        url = gone.url
    with pytest.raises(EndpointError, match="cannot be reached"):
        Endpoint(url, sleep=lambda _: None)(np.zeros((1, 1)))
    with pytest.raises(EndpointError, match="not an http or https address"):
        Endpoint("file:///etc/passwd")


def test_tokens_are_not_shown() -> None:
    """The representation of an endpoint keeps its headers to itself."""
    assert "secret" not in repr(Endpoint("http://localhost", headers={"Authorization": "Bearer secret"}))


def test_a_client_who_is_refused_is_told_so(server: Served) -> None:
    """`ask` takes 403 and 429 for replies; `__call__` and other refusals do not."""
    endpoint = Endpoint(server.url, attempts=1)
    server.reply(429, "slowly", Retry_After="7")
    server.reply(403, "no")
    server.reply(200, {"predictions": [[0.25, 0.75]]})
    throttled, blocked, answered = (endpoint.ask(np.zeros((1, 2))) for _ in range(3))
    assert (throttled.status, throttled.answers, throttled.retry_after_s) == (429, None, 7.0)
    assert (blocked.status, blocked.retry_after_s) == (403, 0.0)
    assert answered.answers is not None
    assert answered.answers.tolist() == [[0.25, 0.75]]
    server.reply(401, "who?")
    with pytest.raises(EndpointError, match="answered 401"):
        endpoint.ask(np.zeros((1, 2)))


def test_nobody_is_sent_elsewhere(server: Served) -> None:
    """A redirection would ask without the rows, or ask somebody who may not be attacked."""
    server.reply(302, "", Location=server.url)
    with pytest.raises(EndpointError, match="answered 302"):
        Endpoint(server.url, attempts=1, direct=True)(np.zeros((1, 2)))
    assert len(server.asked) == 1


def test_a_waiting_time_that_is_none(server: Served) -> None:
    """Half a second is waited, as without one."""
    waits: list[float] = []
    for text in ("nan", "inf"):
        server.reply(503, b"", Retry_After=text)
    server.reply(200, {"predictions": [[0.5, 0.5]]})
    Endpoint(server.url, sleep=waits.append)(np.zeros((1, 2)))
    assert waits == [0.5, 1.0]


def test_an_answer_has_a_largest_size(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that it is refused, and not kept in memory."""
    monkeypatch.setattr("detector.redteam.endpoint.MOST_BYTES", 1 << 20)
    server.reply(200, b" " * ((1 << 20) + 1))
    with pytest.raises(EndpointError, match="more than 1 MB"):
        Endpoint(server.url)(np.zeros((1, 2)))


def test_an_answer_that_comes_drop_by_drop_ends() -> None:
    """Each drop comes in time, the whole never would."""

    class Dropping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(1000):
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.01)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Dropping) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with pytest.raises(EndpointError, match=r"had not finished its answer after 0\.5 s"):
                Endpoint(f"http://127.0.0.1:{served.server_address[1]}/", timeout=0.05)(np.zeros((1, 2)))
        finally:
            served.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("chat/completions", {"choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "0", "logprob": 1e9}]}]}}]}),
        ("chat/completions", {"choices": [{"logprobs": [1]}]}),
        ("chat/completions", {"choices": [{"logprobs": {"content": [{"top_logprobs": 3}]}}]}),
        ("v2/models/m/infer", {"outputs": [{"datatype": "FP32", "shape": [1, 10**30], "data": [1, 2, 3]}]}),
        ("v2/models/m/infer", {"outputs": [{"datatype": [], "shape": [1, 2], "data": [1, 2]}]}),
        ("classify", {"data": [{"index": 1, "probs": [0.5, 0.5]}]}),
        ("classify", {"data": [{"index": "0", "label": "a"}]}),
        ("classify", {"data": [{"index": float("nan"), "label": "a"}]}),
    ],
)
def test_answers_that_break_their_own_form(server: Served, path: str, content: Any) -> None:
    """Each is an error in words, with the address."""
    server.reply(200, content)
    url = server.url.replace("v1/models/digits:predict", path)
    protocol = protocol_of(url, names=["0", "1"])
    endpoint = Endpoint(url, protocol=protocol, traffic=Traffic(about={}))
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1.* answered"):
        endpoint.raw(np.zeros((1, 2)))


def test_entries_are_dealt_by_their_index(server: Served) -> None:
    """Each index once, or none at all: an entry is nobody else's answer."""
    url = server.url.replace("v1/models/digits:predict", "classify")
    two = {"data": [{"index": 1, "probs": [0.1, 0.9]}, {"index": 0, "probs": [0.8, 0.2]}]}
    server.reply(200, two)
    assert Endpoint(url)(np.zeros((2, 3))).tolist() == [[0.8, 0.2], [0.1, 0.9]]
    server.reply(200, {"data": [{"probs": [0.1, 0.9]}, {"probs": [0.8, 0.2]}]})
    assert Endpoint(url)(np.zeros((2, 3))).tolist() == [[0.1, 0.9], [0.8, 0.2]]
    two["data"][0]["index"] = 0
    server.reply(200, two)
    with pytest.raises(EndpointError, match="each once"):
        Endpoint(url)(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "about", [{"outputs": 5}, {"outputs": [3]}, {"inputs": [{"datatype": [], "shape": "x"}]}, {"inputs": 7}]
)
def test_what_a_server_tells_of_its_model_is_not_trusted(server: Served, about: Any) -> None:
    """The question is asked all the same."""
    server.reply(200, {"outputs": [{"name": "p", "datatype": "FP32", "shape": [1, 2], "data": [0.2, 0.8]}]})
    url = server.url.replace("v1/models/digits:predict", "v2/models/m/infer")
    told = Endpoint(url, traffic=Traffic(about=about))(np.zeros((1, 3)))
    assert told.tolist() == [[0.2, 0.8]]

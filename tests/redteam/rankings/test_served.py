"""The recommender over HTTP."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from detector.errors import EndpointError, ServerError
from detector.redteam.endpoint import Endpoint
from detector.redteam.rankings.clients import ATTACKS, Start, converse
from detector.redteam.rankings.log import item_id
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.served import RankingEndpoint, RankingServer


@pytest.fixture
def server(stage: Scene) -> Iterator[RankingServer]:
    """The recommender of the small shop, at a port of its own."""
    names = [item_id(item) for item in range(stage.model.items)]
    with RankingServer(stage.model.after, names) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_thief_is_told_over_http_what_he_is_told_in_process(server: RankingServer, stage: Scene) -> None:
    """Query by query."""
    endpoint = RankingEndpoint(Endpoint(server.url), server.names)

    def heard(recommend: object) -> object:
        start = Start(stage.model.items, [], np.random.default_rng(0))
        return converse(ATTACKS["autoregressive"].begin(start), recommend, 25)  # type: ignore[arg-type]

    assert heard(endpoint) == heard(stage.model.after)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"instances": []}', "a list of 1 to 1000"),
        (b'{"instances": {"history": []}}', "a list of 1 to 1000"),
        (b'{"instances": [["item-001"]]}', "an object whose history"),
        (b'{"instances": [{"history": [1]}]}', "an object whose history"),
        (b'{"instances": [{"history": ["item-001", "item-999"]}]}', "no item 'item-999'"),
    ],
)
def test_bad_requests_are_refused_and_the_next_one_is_served(server: RankingServer, body: bytes, said: str) -> None:
    """On the same connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    connection.request("POST", "/", body)
    answer = connection.getresponse()
    assert answer.status == 400
    assert said in json.loads(answer.read())["error"]
    connection.request("POST", "/", json.dumps({"instances": [{"history": []}, {"history": ["item-001"] * 50}]}))
    answer = connection.getresponse()
    assert answer.status == 200
    assert [len(ranking) for ranking in json.loads(answer.read())["predictions"]] == [10, 10]
    connection.close()


@pytest.mark.parametrize("length", ["", "-1", "x", "99999999999"])
def test_bodies_are_bounded(server: RankingServer, length: str) -> None:
    """A length that is missing, no number, or too large is refused before anything is read."""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30) as raw:
        head = f"Content-Length: {length}\r\n" if length else ""
        raw.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "content", [b"{}", b'{"predictions": 5}', b'{"predictions": [["a"], ["b"]]}', b"x", b'{"predictions": [[[]]]}']
)
def test_answers_that_are_no_ranking_are_named(content: bytes) -> None:
    """With the address and what was said."""

    class Odd(Endpoint):
        def post(self, body: bytes, refusals: tuple[int, ...] = ()) -> bytes:
            del body, refusals
            return content

    with pytest.raises(EndpointError, match="with one list of item ids was expected"):
        RankingEndpoint(Odd("http://127.0.0.1:9/"), ["a", "b"])((0,))


def test_items_that_nobody_named_are_left_out() -> None:
    """A thief cannot ask about them; what is told twice counts once."""

    class Larger(Endpoint):
        def post(self, body: bytes, refusals: tuple[int, ...] = ()) -> bytes:
            assert not refusals
            assert json.loads(body) == {"instances": [{"history": ["a"]}]}
            return b'{"predictions": [["z", "b", "b", "a"]]}'

    assert RankingEndpoint(Larger("http://127.0.0.1:9/"), ["a", "b"])((0,)) == (1, 0)


def test_an_address_that_is_taken_is_named(server: RankingServer, stage: Scene) -> None:
    """And a host that is none."""
    for host, port in (("127.0.0.1", server.server_address[1]), ("not a host", 0)):
        with pytest.raises(ServerError, match=f"cannot listen on {host}:"):
            RankingServer(stage.model.after, server.names, host, port)

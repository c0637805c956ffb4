"""A model server that speaks KServe's protocols V1 and V2, classification in the style of OpenAI, and chat completions.

It answers with a function of the test's own, over real HTTP, and can refuse for haste, refuse an input, or never answer.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from detector.redteam.conversation import Array


@dataclass(eq=False)
class ModelServer:
    """What is served, and what was asked: `too_many` requests are refused with 429 first, `until` is waited for by each."""

    predict: Callable[[Array], Any]
    too_many: int = 0
    labels: bool = False
    until: threading.Event | None = None
    address: tuple[str, int] = ("127.0.0.1", 0)
    requests: list[str] = field(default_factory=list)
    rows: int = 0

    @property
    def root(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def v1(self) -> str:
        """Where it speaks V1."""
        return f"{self.root}/v1/models/digits:predict"

    @property
    def v2(self) -> str:
        """Where it speaks V2."""
        return f"{self.root}/v2/models/digits/infer"

    def answer(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return the response to a request."""
        if path.startswith("/v1/models/"):
            return {"predictions": self._asked(document["instances"]).tolist()}
        if path.startswith("/v2/models/"):
            return self._tensors(document)
        if path == "/classify":
            told = self._asked([json.loads(text) for text in document["input"]])
            return {
                "data": [{"index": i, "label": int(row.argmax()), "probs": row.tolist()} for i, row in enumerate(told)][::-1]
            }
        (row,) = self._asked([json.loads(document["messages"][0]["content"])])
        top = [{"token": f" {i}", "logprob": math.log(max(p, 1e-9))} for i, p in enumerate(row.tolist())]
        return {"choices": [{"message": {"content": str(row.argmax())}, "logprobs": {"content": [{"top_logprobs": top}]}}]}

    def _tensors(self, document: dict[str, Any]) -> dict[str, Any]:
        (tensor,) = document["inputs"]
        assert tensor["name"] == "pixels"
        assert tensor["datatype"] == "FP32"
        X = np.array(tensor["data"]).reshape(tensor["shape"][0], -1)
        told = self._asked(X)
        label = {"name": "label", "datatype": "INT64", "shape": [len(X)], "data": told.argmax(axis=1).tolist()}
        if self.labels:
            return {"outputs": [label]}
        p = {"name": "probabilities", "datatype": "FP32", "shape": list(told.shape), "data": told.ravel().tolist()}
        return {"outputs": [label, p]}

    def _asked(self, rows: Any) -> Any:
        self.rows += len(rows)
        return self.predict(np.array(rows, dtype=np.float64))


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        inputs = [{"name": "pixels", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
        self._send(200, {"name": "digits", "inputs": inputs, "outputs": [{"name": "probabilities"}]})

    def do_POST(self) -> None:
        served = self.server.served
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        served.requests.append(self.path)
        if served.until is not None:
            served.until.wait()
        if served.too_many:
            served.too_many -= 1
            self._send(429, {"error": "slow down"}, {"Retry-After": "0"})
            return
        try:
            answer = served.answer(self.path, document)
        except ValueError as error:
            self._send(400, {"error": str(error)})
            return
        self._send(200, answer)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self, served: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.served = served

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


@contextmanager
def serving(predict: Callable[[Array], Any], **how: Any) -> Iterator[ModelServer]:
    """Serve a model until the test is over."""
    served = ModelServer(predict, **how)
    with _Server(served) as server:
        served.address = ("127.0.0.1", int(server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            if served.until is not None:
                served.until.set()
            server.shutdown()
            thread.join()

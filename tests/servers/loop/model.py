"""A model behind HTTP that writes its predictions to Kafka, as a server of models would: KServe's protocol v1.

Who asks stands in ``X-Client-Id``, which the gateway before it sets.
"""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import numpy as np

from detector.config import KafkaSection
from detector.contracts.moment import rfc3339
from detector.perturb import How, output_fields, perturb
from detector.redteam.conversation import Predict
from detector.service.kafka.connection import Connection

__all__ = ["Answered", "ServedModel"]

_HOW = How("top1")


class Answered(NamedTuple):
    """An answer of the model: when it left (`time.monotonic`), and whether the proxy makes it coarse on its way."""

    at_s: float
    perturbed: bool


class ServedModel:
    """Serves `predict` as ``/v1/models/NAME:predict`` on `port` inside its ``with`` block; logs to a topic, keyed by client.

    `answered` are the answers to each client, in their order.
    """

    def __init__(self, name: str, predict: Predict, kafka: KafkaSection, topic: str) -> None:
        """Connect to Kafka and listen; serve from ``with`` on."""
        self.name = name
        self.answered: dict[str, list[Answered]] = {}
        self._predict = predict
        self._topic = topic
        self._lock = threading.Lock()
        self._producer = Connection(kafka).producer()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_of_error: object) -> None:
        """Stop; what was logged is sent."""
        self._server.shutdown()
        self._server.server_close()
        self._producer.close(timeout=10)

    def answer(self, client: str, rows: list[list[float]], *, perturbed: bool) -> list[list[float]]:
        """Return the model's probabilities, and log each row as an event."""
        with self._lock:
            found = self._predict(np.asarray(rows, dtype=np.float64))
            answers = [[round(min(float(value), 1.0), 9) for value in row] for row in found]
            told = self.answered.setdefault(client, [])
            for row, answer in zip(rows, answers, strict=True):
                told.append(Answered(time.monotonic(), perturbed))
                self._log(client, len(told), row, answer, perturbed=perturbed)
        return answers

    def _log(self, client: str, number: int, row: list[float], answer: list[float], *, perturbed: bool) -> None:
        output: dict[str, Any] = {"label": int(np.argmax(answer)), "probabilities": answer}
        if perturbed:
            output = output_fields(answer, perturb(answer, _HOW, self.name), _HOW)
        event = {
            "event_id": f"{client}#{number}",
            "time": rfc3339(time.time_ns() // 1_000_000),
            "client": {"id": client, "type": "api_key"},
            "model": {"id": self.name, "version": "1"},
            "input": {"vector": row},
            "output": output,
            "status": 200,
        }
        self._producer.send(self._topic, key=client.encode(), value=json.dumps(event).encode())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer: Callable[..., list[list[float]]] = self.answer
        path = f"/v1/models/{self.name}:predict"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                client = self.headers.get("X-Client-Id")
                if self.path != path or not client:
                    self._send(404, {"error": "there is no such model, or nobody says who asks"})
                    return
                rows = json.loads(content)["instances"]
                coarse = self.headers.get("X-Detector-Action") == "perturb"
                self._send(200, {"predictions": answer(client, rows, perturbed=coarse)})

            def _send(self, status: int, document: dict[str, Any]) -> None:
                content = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a gateway has ended."""

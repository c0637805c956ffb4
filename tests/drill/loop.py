"""A small closed loop in files: a model, the engine that reads its log, a real gate, and a gateway that asks it.

The gateway and the model are one server here; it takes the client's name from ``X-Client-Id``.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from detector.baseline.store import Baseline
from detector.clock import SystemClock
from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.ingest.lines import LineCutter
from detector.offline.pipeline import Pipeline
from detector.perturb import How, output_fields, perturb
from detector.redteam.victim import digits_victim
from detector.sinks.folder import FolderSink
from tests.servers.gate import LocalGate

PATH = "/v1/models/digits:predict"
HOW = How("top1")


class Loop:
    """What runs. `obeys` says whether the gateway does what the gate says, `detects` whether the log is read."""

    def __init__(self, folder: Path, baseline: Baseline, gate: LocalGate) -> None:
        self.obeys = self.detects = True
        self.requests: dict[str, int] = {}
        self.alerts, self.decisions = folder / "alerts.jsonl", folder / "decisions.jsonl"
        self.url = ""
        config = Config.model_validate({"policy": {"shadow": False, "trust_clients": True}})
        self._sink = FolderSink(folder)
        self._pipeline = Pipeline(config, baseline, self._sink, SystemClock())
        self._cutter = LineCutter("log", 1 << 20)
        self._gate = gate
        self._predict = digits_victim(2).predict
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the files."""
        self._sink.close()

    def ask(self, client: str, rows: list[list[float]]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return status, headers and body of what a client is told."""
        with self._lock:
            status, said, _ = self._gate.ask(f"/auth{PATH}", {"X-Client-Id": client})
            if self.obeys and status != 200:
                return status, {"Retry-After": said.get("retry-after", "0")}, {"error": "refused"}
            coarse = self.obeys and said["x-detector-action"] == "perturb"
            told = []
            for row, answer in zip(rows, self._predict(np.asarray(rows)).tolist(), strict=True):
                output = {"label": int(np.argmax(answer)), "probabilities": answer}
                if coarse:
                    output = output_fields(answer, perturb(answer, HOW, "digits"), HOW)
                told.append(output["probabilities"])
                self._log(client, row, output)
            return 200, {}, {"predictions": told}

    def _log(self, client: str, row: list[float], output: dict[str, Any]) -> None:
        number = self.requests[client] = self.requests.get(client, 0) + 1
        event = {
            "event_id": f"{client}#{number}",
            "time": rfc3339(time.time_ns() // 1_000_000),
            "client": {"id": client},
            "model": {"id": "digits"},
            "input": {"vector": row},
            "output": output,
        }
        if self.detects:
            for chunk in self._cutter.cut(json.dumps(event).encode() + b"\n"):
                self._pipeline.feed(chunk)
            self._sink.flush()


@contextmanager
def closed_loop(folder: Path, baseline: Baseline) -> Iterator[Loop]:
    """Start it, and end it with the block."""
    with ExitStack() as stack:
        gate = stack.enter_context(LocalGate({"decisions_file": str(folder / "decisions.jsonl")}))
        loop = Loop(folder, baseline, gate)
        stack.callback(loop.close)
        gate.wait_until_ready()
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _handler(loop)))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stack.callback(server.shutdown)
        loop.url = f"http://127.0.0.1:{server.server_address[1]}{PATH}"
        yield loop


def _handler(loop: Loop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            status, headers, document = loop.ask(self.headers["X-Client-Id"], rows)
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler

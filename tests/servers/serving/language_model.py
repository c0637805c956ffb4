"""A language model small enough for a test: an API like OpenAI's that answers by topic, as a whole or as a stream."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from detector.redteam.texts import TOPICS

__all__ = ["REFUSED", "LanguageModel", "said_about"]

REFUSED = "forbidden words"  # in a text that the model does not answer


def said_about(text: str) -> str:
    """Return what the model says about a text: its words, counted, choose the topic."""
    return f"This is about {TOPICS[len(text.split()) % len(TOPICS)]}."


class LanguageModel:
    """Serves inside its ``with`` block on a free port of this machine."""

    def __enter__(self) -> str:
        """Serve; return the address."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"id": f"chatcmpl-{uuid.uuid4()}", "created": 1_777_890_667, "model": asked["model"]}
        if "input" in asked:
            vectors = [
                {"object": "embedding", "index": at, "embedding": [float(len(text)), 1.0]}
                for at, text in enumerate(asked["input"])
            ]
            return self._answer(200, {**known, "object": "list", "data": vectors, "usage": _USAGE})
        text = asked["messages"][-1]["content"]
        if REFUSED in text:
            return self._answer(400, {"error": {"message": "refused", "type": "invalid_request_error"}})
        if asked.get("stream"):
            return self._stream(known, said_about(text))
        message = {"role": "assistant", "content": said_about(text)}
        tokens = [{"token": "This", "logprob": -0.25, "bytes": None, "top_logprobs": []}]
        logprobs = {"content": tokens} if asked.get("logprobs") else None
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
        return self._answer(200, {**known, "object": "chat.completion", "choices": [choice], "usage": _USAGE})

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, known: dict[str, Any], text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for part in (text[:7], text[7:], None):
            delta = {} if part is None else {"role": "assistant", "content": part}
            choice = {"index": 0, "delta": delta, "finish_reason": "stop" if part is None else None}
            chunk = {**known, "object": "chat.completion.chunk", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

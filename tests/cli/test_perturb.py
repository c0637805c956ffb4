"""`detector perturb` as people start it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.errors import ConfigError, OutputError


class Model(BaseHTTPRequestHandler):
    """A model server that knows one answer."""

    def log_message(self, *args: object) -> None:
        del args

    def do_POST(self) -> None:
        body = b'{"predictions":[[0.123,0.877]]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_proxy_runs_until_it_is_told_to_end(upstream: str, tmp_path: Path) -> None:
    """It says where it listens, warns of a mode that is not used, counts, and ends in order."""
    pytest.importorskip("httptools", reason="install httptools (the extra `gate`)")
    config = tmp_path / "detector.toml"
    config.write_text(
        f'[perturb]\nmode = "class_labels"\nupstream = "{upstream}"\nport = 0\nmetrics_port = 0\n', encoding="utf-8"
    )
    command = [sys.executable, "-m", "detector", "perturb", "proxy", "-c", str(config)]
    proxy = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    try:
        assert proxy.stderr is not None
        warning, metrics, listening = (proxy.stderr.readline() for _ in range(3))
        assert "class_labels is called label here" in warning
        assert "perturbing (label)" in listening
        connection = http.client.HTTPConnection("127.0.0.1", int(listening.rsplit(":", 1)[1]), timeout=30)
        connection.request("POST", "/predict", body=b"{}")
        assert json.loads(connection.getresponse().read()) == {"predictions": [[0.0, 1.0]]}
        connection.close()
        counts = http.client.HTTPConnection("127.0.0.1", int(metrics.rsplit(":", 1)[1]), timeout=30)
        counts.request("GET", "/metrics")
        assert b'detector_perturb_responses_total{outcome="told",reason=""} 1' in counts.getresponse().read()
        counts.close()
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(30) == 0
    finally:
        proxy.kill()
        proxy.wait()
        if proxy.stderr is not None:
            proxy.stderr.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--upstream"),
        (("--upstream", "https://model"), "http://host:port"),
        (("--upstream", "http://m:80", "--mode", "mislead"), "allow_wrong_answers"),
        (("--upstream", "http://m:80", "--mode", "noise"), "mode"),
    ],
)
def test_what_is_missing_or_wrong_is_said(words: tuple[str, ...], said: str) -> None:
    """Before anything listens, in words of this program."""
    with pytest.raises(ConfigError, match=said) as caught:
        CliRunner().invoke(app, ["perturb", "proxy", *words], catch_exceptions=False)
    assert "pydantic" not in str(caught.value)


def test_a_table_that_cannot_be_written_is_not_measured(tmp_path: Path) -> None:
    """Measuring takes minutes."""
    with pytest.raises(OutputError, match="there is no folder"):
        CliRunner().invoke(app, ["perturb", "table", "--out", str(tmp_path / "no" / "table.md")], catch_exceptions=False)

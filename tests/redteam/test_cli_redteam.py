"""The red team's commands as people use them."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.distribution import install
from detector.errors import ConfigError, OutputError
from detector.redteam.accounts import SPLITS
from detector.redteam.design_aware import EVASIONS
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.targets import named


def _detector(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "detector", "redteam", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_the_list_names_everything() -> None:
    """Every id is in the table and in the JSON, with family, data and source."""
    told = CliRunner().invoke(app, ["redteam", "list"], env={"COLUMNS": "300"})
    assert told.exit_code == 0
    assert all(name in told.output for name in (*ATTACKS, *PROFILES, *SPLITS))
    assert install("art") in told.output
    listed = json.loads(CliRunner().invoke(app, ["redteam", "list", "--json"]).output)
    assert [one["id"] for one in listed["attacks"]] == list(ATTACKS)
    assert [one["id"] for one in listed["benign"]] == list(PROFILES)
    assert [one["id"] for one in listed["evasions"]] == list(EVASIONS)
    assert [one["id"] for one in listed["splits"]] == list(SPLITS)
    assert all(one["family"] and one["data"] and one["source"] for kind in listed.values() for one in kind)


def test_a_run_writes_a_log_the_truth_and_a_table(tmp_path: Path) -> None:
    """As from a shell: two thieves and an innocent, cover and accounts, and what became of them."""
    out = tmp_path / "log.jsonl"
    ran = _detector(
        "run", "jbda", "line_search", "--benign", "steady", "--model", "demo", "--budget", "60", "--cover", "0.5",
        "--accounts", "4", "--split", "round-robin", "--seed", "5", "--out", str(out),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert all(name in ran.stdout for name in ("thief-jbda-1", "thief-line_search-1", "steady-1", "60"))
    events, truth = (
        [json.loads(line) for line in path.read_bytes().splitlines()] for path in (out, tmp_path / "log.truth.jsonl")
    )
    assert len(events) == len(truth) == 180
    assert len({event["client"]["id"] for event in events}) == 4 + 4 + 1
    assert {line["role"] for line in truth} == {"jbda", "line_search", "steady"}


def test_a_campaign_names_organisations(tmp_path: Path) -> None:
    """Forty accounts in blocks, of two organisations, over half a day."""
    out = tmp_path / "log.jsonl"
    arguments = ["run", "line_search", "-n", "80", "--accounts", "40", "--split", "block", "--organizations", "2"]
    arguments += ["--user-agents", "3", "--hours", "12", "--no-copies", "--out", str(out)]
    told = CliRunner().invoke(app, ["redteam", *arguments])
    assert told.exit_code == 0, told.output
    clients = [json.loads(line)["client"] for line in out.read_bytes().splitlines()]
    assert [client["id"] for client in clients[::2]] == [client["id"] for client in clients[1::2]]
    assert len({client["id"] for client in clients}) == 40
    assert len({client["organization"] for client in clients}) == 2
    assert len({client["user_agent"] for client in clients}) == 3


def test_numbers_for_scripts(tmp_path: Path) -> None:
    """With --json nothing but JSON is on standard output, with the copy at each moment asked for."""
    arguments = ["redteam", "run", "uniform", "--model", "tree:iris", "-n", "80", "--copy-at", "20", "--json", "--out"]
    told = CliRunner().invoke(app, [*arguments, str(tmp_path / "a.jsonl")])
    assert told.exit_code == 0
    document = json.loads(told.stdout)
    assert (document["model"], document["log"]) == ("tree-iris", str(tmp_path / "a.jsonl"))
    (played,) = document["played"]
    assert (played["queries"], played["synthetic"]) == (80, 80)
    assert [one["queries"] for one in played["copy"]] == [20, 80]


def test_a_mistake_is_told_in_a_sentence() -> None:
    """As from a shell: status 2, the reason, what there is instead, and no traceback."""
    ran = _detector("run", "jbda", "--model", "mnist")
    assert ran.returncode == 2
    assert "there is no model 'mnist'; there are: demo, digits" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ([], ConfigError, "name at least one attack"),
        (["jbda", "--url", "http://127.0.0.1:9/x"], ConfigError, "--url needs --pool"),
        (["jbda", "--url", "ftp://127.0.0.1/x", "--pool", "digits"], ConfigError, "not an http or https"),
        (["jbda", "--url", "http://192.0.2.1:9/x", "--pool", "digits"], ConfigError, "not this machine: --i-own-this"),
        (["jbda", "--url", "http://127.0.0.1:9/x", "--pool", "digits", "--categorical", "a"], ConfigError, "like 6,7,8"),
        (["jbda", "--url", "http://127.0.0.1:9/x", "--token-env", "NO_SUCH"], ConfigError, "NO_SUCH, which is not set"),
        (["jbda", "-n", "5", "--out", "no/such/log.jsonl"], OutputError, "cannot write to no/such/log.jsonl"),
        (["knockoff_random", "--model", "mlp:wine"], ConfigError, "takes image data, not tabular"),
    ],
)
def test_mistakes_are_errors_of_ours(arguments: list[str], error: type[Exception], said: str) -> None:
    """Each becomes a sentence and an exit status: nothing that is asked wrongly ends in a traceback."""
    told = CliRunner().invoke(app, ["redteam", "run", *arguments])
    assert isinstance(told.exception, error)
    assert said in str(told.exception)


class _Model(BaseHTTPRequestHandler):
    """A tree behind KServe's protocol that lets in who has the token."""

    target = named("tree:iris")

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        allowed = self.headers.get("Authorization") == "Bearer open sesame"
        body = json.dumps({"predictions": self.target.predict(np.array(rows)).tolist()}).encode() if allowed else b"no"
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def test_a_model_behind_http_is_attacked_like_any_other(tmp_path: Path) -> None:
    """A real server, a table from a file, a token from the environment; without the token the refusal is told."""
    np.savetxt(tmp_path / "iris.csv", np.vstack([_Model.target.test, _Model.target.attacker.vectors]), delimiter=",")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            arguments = [
                "redteam", "run", "path_finding", "--url", f"http://127.0.0.1:{server.server_address[1]}/p", "--tabular",
                "--pool", str(tmp_path / "iris.csv"), "--token-env", "MODEL_TOKEN", "-n", "120", "--json",
                "--out", str(tmp_path / "log.jsonl"),
            ]  # fmt: skip
            told = CliRunner().invoke(app, arguments, env={"MODEL_TOKEN": "open sesame"})
            refused = CliRunner().invoke(app, arguments, env={"MODEL_TOKEN": "wrong"})
        finally:
            server.shutdown()
            thread.join()
    assert told.exit_code == 0, told.exception
    assert json.loads(told.stdout)["played"][0]["queries"] == 120
    assert len((tmp_path / "log.jsonl").read_bytes().splitlines()) == 120
    assert "403" in str(refused.exception)


def test_prices_are_told_in_a_table_and_in_json() -> None:
    """A row for each evasion that was asked for; one that does not go with the data is refused with those that do."""
    arguments = ["redteam", "price", "shallow", "smote", "--model", "tree:iris", "-n", "40", "--instances", "1"]
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})
    assert told.exit_code == 0
    assert all(word in told.output for word in ("shallow", "smote", "line_search", "uniform", "price", "wire grid"))
    document = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [one["evasion"] for one in document["prices"]] == ["shallow", "smote"]
    assert all(one["price"] == pytest.approx(one["plain"] - one["copy"]) for one in document["prices"])
    refused = CliRunner().invoke(app, ["redteam", "price", "jpeg_steps", "--model", "tree:iris"])
    assert isinstance(refused.exception, ConfigError)
    assert "jpeg_steps takes image data; for tabular data there are: weaving" in str(refused.exception)

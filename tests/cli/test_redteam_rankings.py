"""`detector redteam rankings` and its companions as people start them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.errors import ConfigError, OutputError

SMALL = ["--items", "48"]


def test_the_table_is_printed_and_written(tmp_path: Path) -> None:
    """As JSON for scripts, as Markdown into a file; only the defences that were asked for."""
    out = tmp_path / "table.md"
    words = [
        "redteam",
        "rankings",
        "--queries",
        "10",
        "--seeds",
        "1",
        "--defence",
        "top 1",
        *SMALL,
        "--json",
        "--out",
        str(out),
    ]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert {row["defence"] for row in rows} == {"top 1"}
    assert {row["queries"] for row in rows} == {1, 3, 10}
    assert len(rows) == 12
    assert out.read_text(encoding="utf-8").count("\n") == 2 + 3


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["rankings", "--defence", "hope"], ConfigError, "no defence 'hope'; there are: none, top 5"),
        (["rankings", "--out", "/no/such/folder/x.md"], OutputError, "there is no folder"),
        (["rankings-log", "--defence", "hope", *SMALL], ConfigError, "no defence 'hope'"),
        (["rankings-log", "knockoff", *SMALL], ConfigError, "no client 'knockoff'"),
        (["rankings-log", "--input", "picture", *SMALL], ConfigError, "not logged as 'picture'; there are: columns, vector"),
        (["rankings-log", "traverse", *SMALL, "--out", "/no/such/folder/x.jsonl"], OutputError, "cannot write to"),
        (["rankings-ask", "http://127.0.0.1:9/", "--catalogue", "/no/such/file"], ConfigError, "cannot read the catalogue"),
        (["rankings-ask", "http://shop.example.org/", "--catalogue", "/no/such/file"], ConfigError, "--i-own-this"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], error: type[Exception], said: str) -> None:
    """Before anything is measured or written."""
    found = CliRunner().invoke(app, ["redteam", *words])
    assert isinstance(found.exception, error)
    assert said in str(found.exception)


def test_a_catalogue_or_address_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the file, or the address."""
    catalogue = tmp_path / "items.txt"
    catalogue.write_text("a\n\nb\na\n", encoding="utf-8")
    few = CliRunner().invoke(app, ["redteam", "rankings-ask", "http://127.0.0.1:9/", "--catalogue", str(catalogue)])
    assert isinstance(few.exception, ConfigError)
    assert "names 2 items" in str(few.exception)
    catalogue.write_text("\n".join(f"item-{n}" for n in range(30)), encoding="utf-8")
    file = CliRunner().invoke(app, ["redteam", "rankings-ask", "file:///etc/passwd", "--catalogue", str(catalogue)])
    assert isinstance(file.exception, ConfigError)
    assert "is not an http or https address" in str(file.exception)


def test_a_log_is_written_with_its_truth(tmp_path: Path) -> None:
    """The same seed writes the same bytes."""
    logs = []
    for name in ("a.jsonl", "b.jsonl"):
        words = ["redteam", "rankings-log", "traverse", "browse", "-n", "5", *SMALL, "--out", str(tmp_path / name)]
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 0, found.output
        logs.append((tmp_path / name).read_bytes())
    assert logs[0] == logs[1]
    assert len(logs[0].splitlines()) == len((tmp_path / "a.truth.jsonl").read_bytes().splitlines()) == 10


def test_a_recommender_is_served_and_attacked(tmp_path: Path) -> None:
    """It says where it listens; thieves copy it over HTTP; Ctrl-C ends it."""
    command = [sys.executable, "-m", "detector", "redteam", "rankings-serve", "--port", "0", *SMALL]
    serving = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    try:
        assert serving.stderr is not None
        listening = serving.stderr.readline()
        assert "recommending 48 items" in listening
        catalogue = tmp_path / "items.txt"
        catalogue.write_text("\n".join(f"item-{n:03}" for n in range(48)), encoding="utf-8")
        url = listening.split()[-1]
        words = ["redteam", "rankings-ask", url, "--catalogue", str(catalogue), "-n", "60", "--json"]
        found = CliRunner().invoke(app, words)
        assert found.exit_code == 0, found.output
        agreements = {row["attack"]: row["agreement"] for row in json.loads(found.stdout)}
        assert set(agreements) == {"traverse", "autoregressive", "random"}
        assert agreements["traverse"] > 0.4
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 130
    finally:
        serving.kill()
        serving.wait()
        if serving.stderr is not None:
            serving.stderr.close()

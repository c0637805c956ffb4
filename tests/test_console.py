"""Names are chosen by whoever sends queries: whatever command prints them, a terminal only shows them."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from rich.table import Table
from rich.text import Text

from detector.cli import main
from detector.console import Console, JsonTerminal
from detector.contracts.moment import LAST_MS
from detector.names import harmless, harmless_json, one_line, origin_of, printable
from detector.service.dead_letters import records as letters
from detector.testing import traffic

HOSTILE = "[/nope][red]:skull:\x1b[2J\x1b]0;title\x07\x9b2J\u202eevil\u2066\r\nFORGED line\u2028FORGED\x00\x7f"
CLIENT, MODEL = f"thief {HOSTILE}", f"model {HOSTILE}"
ENDS = "\n\t"


def clean(text: str) -> bool:
    """Tell whether a text only shows, and has no line that a name began."""
    acts = [letter for letter in text if not letter.isprintable() and letter not in ENDS]
    return not acts and not any(line.lstrip().startswith("FORGED") for line in re.split("\n", text))


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    """Of any text; what only shows stays as it is, and JSON says the same."""
    assert all(letter.isprintable() for letter in one_line(text) + printable(text))
    assert all(letter.isprintable() or letter in ENDS for letter in harmless(text))
    if text.isprintable():
        assert harmless(text) == one_line(text) == text
    packed = json.dumps({"name": text}, ensure_ascii=False)
    assert json.loads(harmless_json(packed)) == {"name": text}
    assert all(letter.isprintable() for letter in harmless_json(packed))


@given(st.text(max_size=40))
def test_the_console_only_shows(text: str) -> None:
    """Text, styled text, titles and cells of tables come out without markup and without what acts, on a terminal, too."""
    plain, coloured = io.StringIO(), io.StringIO()
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    for out, options in ((plain, {}), (coloured, {"force_terminal": True, "color_system": "truecolor"})):
        console = Console(file=out, width=100, **options)  # type: ignore[arg-type]
        console.print(text)
        console.print(Text.assemble((text, "red")))
        console.print(table)
    assert all(letter.isprintable() or letter in ENDS for letter in plain.getvalue())
    assert all(letter.isprintable() or letter in ENDS for letter in re.sub(r"\x1b\[[0-9;]*m", "", coloured.getvalue()))


@given(st.text())
def test_of_an_address_no_more_is_shown_than_where_it_leads(text: str) -> None:
    """Whatever it is: nothing of user, path or query."""
    for url in (text, f"https://{text}", f"https://host/{text}", f"https://host:1/?{text}"):
        shown = origin_of(url)
        assert shown == "" or re.fullmatch(r"https?://[^/?#@]+", shown)
    assert origin_of("https://host/" + text.replace("\\", "")) in {"", "https://host"}


class Terminal(io.BytesIO):
    """Bytes that say they are a terminal."""

    def isatty(self) -> bool:
        return True


def test_json_lines_are_escaped_on_a_terminal_only() -> None:
    """In a pipe they are byte for byte what was written."""
    line = json.dumps({"id": HOSTILE}, ensure_ascii=False).encode() + b"\n"
    pipe, terminal = io.BytesIO(), Terminal()
    for stream in (pipe, terminal):
        out = JsonTerminal(stream)
        out.write(line)
        out.flush()
    assert pipe.getvalue() == line
    assert clean(terminal.getvalue().decode())
    assert json.loads(terminal.getvalue()) == {"id": HOSTILE}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write logs in which a model, a thief and innocents have hostile names."""
    folder = tmp_path_factory.mktemp("world")

    def renamed(line: bytes) -> bytes:
        record: dict[str, Any] = json.loads(line)
        record["client"]["id"] += f" {HOSTILE}"
        record["model"] = {"id": MODEL, "version": HOSTILE}
        record["output"]["label"] = f"{HOSTILE}{record['output']['label']}"
        return json.dumps(record).encode()

    for name, lines in (
        ("benign.jsonl", traffic(seed=2, innocents=12, thieves=0)),
        ("log.jsonl", [*traffic(seed=1, innocents=3, thieves=1), b'{"broken": "\x1b[2J']),
    ):
        told = [line if b"broken" in line else renamed(line) for line in lines]
        (folder / name).write_bytes(b"".join(line + b"\n" for line in told))
    return folder


def told(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process; return its status and all that it printed."""
    status = 0
    with patch("sys.argv", ["detector", *map(str, arguments)]):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    shown = capfd.readouterr()
    return status, shown.out + shown.err


def test_every_command_that_prints_names(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """From the fit of a baseline to explaining a client, as words and as JSON, and where something is wrong."""
    baseline, accepted, out = world / "baseline", world / "accepted", world / "out"
    benign, log = world / "benign.jsonl", world / "log.jsonl"
    thief = f"thief-0 {HOSTILE}"
    review = ("--actor", HOSTILE, "--reason", HOSTILE)
    settings = world / "detector.toml"
    settings.write_text(f"[models.{json.dumps(MODEL)}]\ndimension = 12\n", encoding="utf-8")
    commands: list[tuple[int, tuple[str | Path, ...]]] = [
        (0, ("baseline", "fit", benign, "--out", baseline)),
        (0, ("baseline", "show", baseline)),
        (0, ("baseline", "show", baseline, "--log", log)),
        (0, ("baseline", "show", baseline, "--log", log, "--json")),
        (0, ("baseline", "accept", f"client-0 {HOSTILE}", "--log", benign, "--out", accepted, "--baseline", baseline, *review)),
        (0, ("baseline", "show", accepted)),
        (1, ("baseline", "accept", HOSTILE, "--log", benign, "--out", accepted, "--baseline", baseline, *review)),
        (1, ("baseline", "accept", thief, "--log", log, "--out", accepted, "--baseline", baseline, *review)),
        (0, ("replay", log, "--out", out, "--baseline", baseline)),
        (0, ("replay", log, "--out", out, "--baseline", baseline, "--json")),
        (0, ("explain", thief, "--from", out)),
        (0, ("explain", thief, "--from", out, "--json")),
        (1, ("explain", HOSTILE, "--from", out)),
        (1, ("explain", thief, "--model", HOSTILE, "--from", out)),
        (1, ("replay", HOSTILE, "--out", out)),
        (0, ("config", "check", "-c", settings)),
        (1, ("siem", "ship", out / HOSTILE.replace("\0", "").replace("/", ""))),
        (0, ("redteam", "list")),
        (2, ("redteam", "run", HOSTILE)),
    ]
    for expected, arguments in commands:
        status, shown = told(capfd, *arguments)
        assert clean(shown), (arguments[:2], [line for line in shown.split("\n") if not clean(line)])
        assert status == expected or (expected, status) == (1, 2), (arguments[:2], shown[-500:])


def test_a_run_to_standard_output(world: Path) -> None:
    """Alerts in a pipe are JSON as it was made; the words beside them are clean."""
    done = subprocess.run(
        [sys.executable, "-m", "detector", "run", str(world / "log.jsonl")], capture_output=True, check=True, timeout=300
    )
    assert clean(done.stderr.decode())
    alerts = [line for line in map(json.loads, done.stdout.splitlines()) if "user" in line]
    assert {alert["user"]["id"] for alert in alerts} == {f"thief-0 {HOSTILE}"}


@given(st.text(max_size=30), st.integers(-(2**63), 2**63 - 1))
def test_dead_letters_are_shown(text: str, time_ms: int) -> None:
    """Whatever headers and times a record of the dead-letter topic has, it is one line of the table and a line of JSON."""
    record = type("Record", (), {})()
    headers = ("reason", "detail", "source_topic", "source_partition", "source_offset", "detector_version")
    for value in (text, HOSTILE, "9" * 5000, "7"):
        record.__dict__.update(
            headers=[(name, value.encode(errors="replace")) for name in headers],
            timestamp=time_ms,
            value=value.encode(errors="replace"),
            offset=3,
        )
        letter = letters._dead_letter(TopicPartition(HOSTILE, 0), record)
        assert 0 <= letter.time_ms <= LAST_MS
        out = io.StringIO()
        Console(file=out, width=200).print(letters.table([letter]))
        assert clean(out.getvalue())
        json.dumps(letter.to_dict())

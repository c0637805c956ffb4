"""``detector logs inspect``: what it says of logs of any kind, and what it does with those that are no logs."""

import bz2
import gzip
import json
import lzma
import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from typer.testing import CliRunner, Result

from detector.cli import app
from detector.errors import ConfigError, SourceError
from detector.ingest.lines import Chunk, Lines
from detector.offline.inspection import sample as sampling
from detector.testing import traffic
from tests.ingest.formats.test_registry import samples


def invoke(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["logs", "inspect", *words], input=stdin)


def found(*words: str, stdin: bytes | None = None) -> dict[str, Any]:
    """Return what is said for scripts; an exit status of 1 is left to the test."""
    document: dict[str, Any] = json.loads(invoke(*words, "--json", stdin=stdin).stdout)
    return document


def lines(count: int = 12) -> list[bytes]:
    return traffic(queries=count)[:count]


def wrapped(wrap: Callable[[str], Any]) -> bytes:
    return b"".join(json.dumps(wrap(line.decode())).encode() + b"\n" for line in lines())


def kcat(line: str) -> dict[str, Any]:
    return {"payload": line, "offset": 1, "partition": 0, "topic": "log", "ts": 1_777_890_667_412, "headers": [], "key": None}


PLAIN = b"".join(line + b"\n" for line in lines())
CONTAINERS = {
    "a record a line": PLAIN,
    "a record a line, byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "a record a line, CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "gzip, a record a line": gzip.compress(PLAIN),
    "zstd, a record a line": zstandard.ZstdCompressor().compress(PLAIN),
    "bzip2, a record a line": bz2.compress(PLAIN),
    "xz, a record a line": lzma.compress(PLAIN),
    "one JSON array": b"[\n" + b",\n".join(lines()) + b"\n]",
    "JSON objects, over several lines or without line ends": b"".join(lines()),
}
WRAPPED = {
    "kcat": wrapped(kcat),
    "docker": wrapped(lambda line: {"log": line + "\n", "stream": "stdout", "time": "2026-05-04T10:31:07Z"}),
    "cri": b"".join(b"2026-05-04T10:31:07.1Z stdout F " + line + b"\n" for line in lines()),
    "beats": wrapped(lambda line: {"@timestamp": "2026-05-04T10:31:07Z", "message": line}),
}


@pytest.mark.parametrize("said", CONTAINERS)
def test_containers(said: str, tmp_path: Path) -> None:
    """Each is named, and its records are read; also from standard input."""
    log = tmp_path / "log"
    log.write_bytes(CONTAINERS[said])
    for words, stdin in (([str(log)], None), (["-"], CONTAINERS[said])):
        document = found(*words, stdin=stdin)
        assert document["events"] == document["formats"]["native"]["records"] == 12
        assert document["logs"]["first"][0]["container"] == said


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrappers(wrapper: str, tmp_path: Path) -> None:
    """What collectors put around a record is named and taken off, and the proposal does so, too."""
    log = tmp_path / "log"
    log.write_bytes(WRAPPED[wrapper])
    document = found(str(log))
    assert document["logs"]["first"][0]["wrapper"] == wrapper
    assert document["events"] == 12
    assert 'format = "native"' in document["configuration"]
    assert found(str(log), "-c", str(written(tmp_path, document)))["events"] == 12


def written(folder: Path, document: dict[str, Any]) -> Path:
    config = folder / "detector.toml"
    config.write_text(document["configuration"], encoding="utf-8")
    return config


def test_tables_and_parquet(tmp_path: Path) -> None:
    """Rows are records; a table of calls is recognised as its format."""
    pq = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    row = json.loads(samples("databricks")[0][0].value)
    pq.write_table(pa.Table.from_pylist([row] * 3), tmp_path / "log.parquet")
    document = found(str(tmp_path / "log.parquet"))
    assert document["logs"]["first"][0]["container"] == "Parquet"
    assert list(document["formats"]) == ["databricks"]
    assert document["events"] == 6


def test_folders_patterns_and_several_logs(tmp_path: Path) -> None:
    """Hour folders are walked; what is named twice is read once, and places name the file."""
    for hour in ("10", "11"):
        folder = tmp_path / "2026" / hour
        folder.mkdir(parents=True)
        (folder / "log.jsonl").write_bytes(PLAIN)
    for words in ([str(tmp_path)], [f"{tmp_path}/2026/*/*.jsonl"], [f"{tmp_path}/2026/10", f"{tmp_path}/2026/11/log.jsonl"]):
        document = found(*words)
        assert (document["logs"]["count"], document["records"]) == (2, 24)
    (tmp_path / "2026/11/log.jsonl").write_bytes(b"{}\n")
    assert found(str(tmp_path))["refused"]["schema"]["first"] == f"{tmp_path}/2026/11/log.jsonl:1"


def test_a_folder_of_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are looked at, and it says so."""
    monkeypatch.setattr(sampling, "MOST_LOGS", 3)
    for number in range(5):
        (tmp_path / f"{number}.jsonl").write_bytes(PLAIN)
    document = found(str(tmp_path))
    assert (document["logs"]["count"], document["logs"]["read"], document["complete"]) == (5, 3, False)
    assert "the first 3 of 5 logs, the first 36 records" in invoke(str(tmp_path)).stdout


def test_urls(tmp_path: Path) -> None:
    """A log in a store is named by its URL, as `replay` takes it."""
    pytest.importorskip("fsspec")
    (tmp_path / "log.jsonl").write_bytes(PLAIN)
    assert found(f"file://{tmp_path}/log.jsonl")["events"] == 12


def test_a_log_of_two_formats(tmp_path: Path) -> None:
    """Both are counted, and auto is proposed."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(PLAIN + (samples("databricks")[0][0].value + b"\n") * 2)
    document = found(str(log))
    assert {name: about["records"] for name, about in document["formats"].items()} == {"native": 12, "databricks": 2}
    assert document["formats"]["databricks"]["first"] == f"{log}:13"
    assert document["events"] == 16
    assert tomllib.loads(document["configuration"])["ingest"]["format"] == "auto"


def test_no_more_than_asked_for_is_read(tmp_path: Path) -> None:
    """It says that the log goes on."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(PLAIN)
    document = found(str(log), "--records", "5", "--events", "2")
    assert (document["records"], document["complete"], len(document["first_events"])) == (5, False, 2)


def test_the_file_of_the_configuration(tmp_path: Path) -> None:
    """It is written once, and never replaced: that is a mistake in the call, seen before anything is read."""
    log, config = tmp_path / "log.jsonl", tmp_path / "detector.toml"
    log.write_bytes(PLAIN)
    assert invoke(str(log), "--write", str(config)).exit_code == 0
    before = config.read_bytes()
    again = invoke(str(tmp_path / "missing"), "--write", str(config))
    assert isinstance(again.exception, ConfigError)
    assert "is there already" in str(again.exception)
    assert config.read_bytes() == before
    nowhere = invoke(str(log), "--write", str(tmp_path / "no" / "detector.toml"))
    assert "cannot be written" in str(nowhere.exception)


def test_settings_that_are_given_stay(tmp_path: Path) -> None:
    """What a configuration says is kept, and what the log needs comes to it."""
    log, config = tmp_path / "log.jsonl", tmp_path / "given.toml"
    log.write_bytes(b'{"a": 1, "b": 2, "out": 1, "at": "2026-05-04 10:31:07"}\n' * 3)
    config.write_text(
        '[ingest]\nformat = "mapping"\nmodel = "fraud"\nmissing = "refuse"\n'
        'mapping = {time = "at", columns = ["a", "b"], label = "out"}\n'
    )
    proposed = tomllib.loads(found(str(log), "-c", str(config))["configuration"])
    assert proposed["ingest"]["model"] == "fraud"
    assert proposed["ingest"]["missing"] == "refuse"
    assert proposed["ingest"]["mapping"] == {"time": "at", "columns": ["a", "b"], "label": "out"}
    assert proposed["ingest"]["clients"] == [{"constant": "everybody"}]
    assert proposed["engine"] == {"naive_time_zone": "UTC"}


def test_a_rule_is_proposed_where_nothing_says_who_asked(tmp_path: Path) -> None:
    """A header that few values fill in most records; one that is different in each record is none, nor is a secret."""
    log = tmp_path / "log.jsonl"
    (record, _), *_ = samples("apisix")
    entry = json.loads(record.value)
    entry = entry[0] if isinstance(entry, list) else entry
    entry.pop("consumer", None)
    with log.open("w") as file:
        for at in range(20):
            secret = f"Bearer {at % 2}"
            entry["request"]["headers"] = {"x-tenant": f"t{at % 3}", "x-user-nonce": str(at), "authorization": secret}
            file.write(json.dumps(entry) + "\n")
    document = found(str(log))
    assert tomllib.loads(document["configuration"])["ingest"]["clients"] == [{"header": "x-tenant"}]
    assert document["clients"]["named_by"] == {"header x-tenant": {"clients": 3, "calls": 20}}


def test_what_is_refused_is_said_with_its_place(tmp_path: Path) -> None:
    """By reason, with the first file and line, and what to do about it."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(PLAIN + b'{"event_id": "e1"}\nbroken\n\xff\xfe\n' + b"x" * 2_000_000 + b"\n")
    document = found(str(log))
    places = {reason: (about["count"], about["first"]) for reason, about in document["refused"].items()}
    assert places == {
        "schema": (1, f"{log}:13"),
        "json": (1, f"{log}:14"),
        "encoding": (1, f"{log}:15"),
        "oversized": (1, f"{log}:16"),
    }
    assert "max_record_bytes" in document["refused"]["oversized"]["hint"]


def test_nothing_acts_on_the_terminal(tmp_path: Path) -> None:
    """Names, values and errors are shown with their control characters escaped, and times as UTC."""
    log = tmp_path / "log\x1b[2J.jsonl"
    event = json.loads(lines()[0])
    event["client"]["id"] = "a\x1b]0;x\x07\u202e"
    event["output"] = {"label": "\x9b31m"}
    log.write_text(json.dumps(event) + "\n\x1b[31m\n")
    shown = invoke(str(log))
    assert shown.exit_code == 0
    assert not {character for character in shown.output if not character.isprintable()} - {"\n"}
    assert "T" in (first := found(str(log))["times"][0])
    assert first.endswith("Z")
    assert first in shown.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no record can be used"),
        (b"\n\n \n", "no record can be used"),
        (os.urandom(50_000), "no record can be used"),
        (b"[" * 100_000, "no record can be used"),
        (b'{"hello": "world"}\n', "no record can be used"),
        (gzip.compress(PLAIN)[:-20], "ends early"),
        (b"PAR1 and no more", "cannot be read"),
    ],
    ids=["empty", "blank", "noise", "deep", "foreign", "cut", "no-parquet"],
)
def test_what_is_no_log(content: bytes, said: str, tmp_path: Path) -> None:
    """It ends with a sentence and status 1; nothing is written."""
    log, config = tmp_path / "log", tmp_path / "detector.toml"
    log.write_bytes(content)
    done = invoke(str(log), "--write", str(config))
    assert isinstance(done.exception, SourceError), done.output
    assert said in str(done.exception)
    assert config.exists() == ("ends early" in said)


def test_why_nothing_can_be_used(tmp_path: Path) -> None:
    """No record, no objects, or objects without an answer: each is said in its own words."""
    log = tmp_path / "log"
    for content, said in (
        (b"", "there is no record in it"),
        (b"hello\n", "no record is a JSON object"),
        (b'{"user": "a", "amount": 3}\n', "nothing looks like the answer"),
    ):
        log.write_bytes(content)
        assert said in invoke(str(log)).stdout


def test_logs_that_are_not_there(tmp_path: Path) -> None:
    """A folder without logs, a pattern that matches nothing, a file that is missing: each is named."""
    for name in (str(tmp_path), f"{tmp_path}/*.jsonl", str(tmp_path / "missing"), "a\0b"):
        done = invoke(name)
        assert isinstance(done.exception, SourceError)
        assert name in str(done.exception)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    """It is named, with the reason."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(PLAIN)
    log.chmod(0)
    assert "ermission" in str(invoke(str(log)).exception)


def test_a_line_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops; beside other logs it is left out."""
    monkeypatch.setattr(sampling, "_MOST_UNCUT", 1 << 22)
    done = invoke("/dev/zero")
    assert isinstance(done.exception, SourceError)
    assert "no record ends within the first 4 MiB" in str(done.exception)


@pytest.mark.parametrize("read", [0, 12])
def test_an_interrupt_ends_the_reading(read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read until then is shown; without anything it just ends, and leaves no file."""
    log, config = tmp_path / "log.jsonl", tmp_path / "detector.toml"
    log.write_bytes(PLAIN)

    def interrupted(*_: object, **__: object) -> Iterator[Lines]:
        if read:
            yield Chunk(str(log), 1, lines()[:read])
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "read", interrupted)
    done = invoke(str(log), "--write", str(config))
    assert config.exists() == bool(read)
    if read:
        assert "interrupted" in str(done.exception)
        assert "the first 12 records" in done.stdout
    else:
        assert done.exit_code == 130

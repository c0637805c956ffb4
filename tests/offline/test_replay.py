"""Replay end to end: logs in, files out."""

import base64
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.clock import HeldClock
from detector.config import Config
from detector.errors import ConfigError, OutputError, SourceError
from detector.ingest.assemble import Assembler
from detector.offline import replay as replaying
from detector.offline.replay import replay

START_MS = 1_714_816_800_000
CLOCK = HeldClock(START_MS + 86_400_000)
MUTATED = int(os.environ.get("DETECTOR_FUZZ_REPLAYED", "10000"))  # records; `make fuzz` takes more
FILES = ("alerts.jsonl", "decisions.jsonl", "clients.jsonl", "dead-letters.jsonl")


def line(client: str, number: int, vector: list[float], label: int = 0, **more: object) -> bytes:
    event = {
        "event_id": f"{client}-{number}",
        "time": START_MS + number * 1000,
        "client": {"id": client},
        "model": {"id": "m"},
        "input": {"vector": vector},
        "output": {"label": label, "probabilities": [0.7, 0.3] if label == 0 else [0.2, 0.8]},
        **more,
    }
    return json.dumps(event).encode()


def traffic(clients: int, queries: int, seed: int = 0) -> list[bytes]:
    """A log of ordinary clients and one that bisects between two points of different labels."""
    rng = np.random.default_rng(seed)
    lines = []
    way = np.resize([1.0, -1.0], 12)

    def ends() -> tuple[np.ndarray, np.ndarray]:  # whose difference is no function of the values themselves
        return 2 * rng.normal(size=12) - way, 2 * rng.normal(size=12) + way

    step, (low, high) = 0, ends()
    for number in range(queries):
        for client in range(clients):
            vector = rng.normal(size=12) + 4 * (rng.random() < 0.5)
            lines.append(line(f"client-{client}", number, vector.round(4).tolist(), int(vector.mean() > 2)))
        asked = (low, high, (low + high) / 2)[min(step, 2)]
        lines.append(line("thief", number, asked.round(4).tolist(), int(asked @ way > 0)))
        step += 1
        if step > 2:
            low, high = (asked, high) if asked @ way <= 0 else (low, asked)
        if np.abs(high - low).max() < 1e-2:
            step, (low, high) = 0, ends()
    return lines


def write(path: Path, lines: list[bytes]) -> str:
    path.write_bytes(b"".join(text + b"\n" for text in lines))
    return str(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def dead_letters(folder: Path) -> list[dict[str, str]]:
    return [json.loads(text) for text in (folder / "dead-letters.jsonl").read_bytes().splitlines()]


def test_results_do_not_depend_on_batch_size(tmp_path: Path) -> None:
    """Every file is the same byte for byte, from single lines to the whole log at once, and the thief is in them."""
    log = write(tmp_path / "log.jsonl", traffic(12, 60))
    for size in (1, 7, 100_000):
        replay([log], tmp_path / str(size), Config(), None, batch_size=size, clock=CLOCK)
    assert contents(tmp_path / "1") == contents(tmp_path / "7") == contents(tmp_path / "100000")
    decided = [json.loads(text) for text in (tmp_path / "1" / "decisions.jsonl").read_bytes().splitlines()]
    assert {decision["subject"]["id"] for decision in decided} == {"thief"}
    assert all(decision["simulated"] for decision in decided)


def test_partitions_deal_every_client_to_one_shard(tmp_path: Path) -> None:
    """With several partitions each client is still reported once, with all its queries."""
    log = write(tmp_path / "log.jsonl", traffic(12, 100))
    done = replay([log], tmp_path / "out", Config(), None, partitions=3, clock=CLOCK)
    clients = [json.loads(text) for text in (tmp_path / "out" / "clients.jsonl").read_bytes().splitlines()]
    assert Counter(client["client"] for client in clients) == Counter({f"client-{i}": 1 for i in range(12)} | {"thief": 1})
    assert {client["queries"] for client in clients} == {100}
    assert done.summary["clients"] == 13


def test_a_log_delivered_twice_changes_nothing(tmp_path: Path) -> None:
    """The second delivery is counted as repeats or refused as late; alerts, decisions and clients stay the same."""
    lines = traffic(12, 90)
    log = write(tmp_path / "log.jsonl", lines)
    once = replay([log], tmp_path / "once", Config(), None, clock=CLOCK).summary
    twice = replay([log, log], tmp_path / "twice", Config(), None, clock=CLOCK).summary
    for name in FILES[:3]:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    assert twice["events"] == once["events"] == len(lines)
    assert twice["duplicates"] == len(lines)


def mutate(text: bytes, rng: np.random.Generator) -> bytes:
    """Damage a record in one of the ways that logs are damaged in."""
    kind = int(rng.integers(9))
    if kind == 0:
        return text[: int(rng.integers(len(text)))]
    if kind == 1:
        at = int(rng.integers(len(text)))
        return (text[:at] + bytes([int(rng.integers(256))]) + text[at + 1 :]).replace(b"\n", b"?")
    if kind == 2:
        return text.replace(b'"vector": [', b'"vector": [NaN, ')
    if kind == 3:
        return text.replace(b'"label": ', b'"label": 1.5, "x": ')
    if kind == 4:
        return text.replace(b'"vector": [', b'"vector": [1e999, ')
    if kind == 5:
        return b'{"event_id": ' + b"[" * 100_000
    if kind == 6:
        return bytes(rng.integers(0, 256, 200, dtype=np.uint8)).replace(b"\n", b"?")
    if kind == 7:
        return text.replace(b'"time": ', b'"time": "yesterday", "was": ')
    return text.replace(b'"client": {"id": "', b'"client": {"id": "' + b"x" * 300)


def test_mutated_records_lose_nothing(tmp_path: Path) -> None:
    """Every bad record is a dead-letter record with its own bytes and line; every good one is counted."""
    rng = np.random.default_rng(7)
    good = traffic(20, 50)
    lines = []
    for number in range(MUTATED):
        text = good[number % len(good)].replace(b'"event_id": "', b'"event_id": "%d-' % number)
        lines.append(mutate(text, rng) if rng.random() < 0.7 else text)
    assembler = Assembler(CLOCK)
    bad = [number for number, text in enumerate(lines, 1) if assembler.assemble([text], "x", first_line=1, first_sequence=0)[1]]
    done = replay([write(tmp_path / "log.jsonl", lines)], tmp_path / "out", Config(), None, clock=CLOCK)
    summary = done.summary
    assert not done.problems
    assert summary["events"] + summary["invalid"] + summary["duplicates"] == MUTATED
    found = {int(dead_letter["line"]): dead_letter for dead_letter in dead_letters(tmp_path / "out")}
    assert len(found) == summary["invalid"]
    assert set(bad) <= set(found)
    assert {found[number]["reason"] for number in set(found) - set(bad)} <= {"late", "dimension"}
    for number, dead_letter in found.items():
        assert base64.b64decode(dead_letter["record"]) == lines[number - 1].removesuffix(b"\r")
        assert dead_letter["detail"]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_log_cut_off_in_the_middle_is_used_and_reported(tmp_path: Path, compress: object) -> None:
    """What could be unpacked is processed, and the message says which file ended too soon."""
    assert callable(compress)
    lines = traffic(12, 60)
    whole = compress(b"".join(text + b"\n" for text in lines))
    path = tmp_path / "log.gz"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    done = replay([str(path)], tmp_path / "out", Config(), None, clock=CLOCK)
    assert len(done.problems) == 1
    assert str(path) in done.problems[0]
    assert done.summary["problems"] == list(done.problems)
    assert 0 <= done.summary["events"] < len(lines)


def test_late_events_that_waited_for_learning_keep_their_record(tmp_path: Path) -> None:
    """An event refused only when its model is learned is kept with its own bytes, not those of the last batch."""
    lines = traffic(12, 60)
    late = line("client-0", -7200, [0.5] * 12)
    lines.insert(200, late)
    replay([write(tmp_path / "log.jsonl", lines)], tmp_path / "out", Config(), None, batch_size=50, clock=CLOCK)
    (dead_letter,) = dead_letters(tmp_path / "out")
    assert dead_letter["reason"] == "late"
    assert dead_letter["line"] == 201  # type: ignore[comparison-overlap]  # JSON numbers
    assert base64.b64decode(dead_letter["record"]) == late


def test_an_empty_log_is_a_result(tmp_path: Path) -> None:
    """No events, no alerts, empty files and a summary."""
    (tmp_path / "log.jsonl").touch()
    done = replay([str(tmp_path / "log.jsonl")], tmp_path / "out", Config(), None)
    assert done.summary["events"] == done.summary["invalid"] == 0
    assert set(contents(tmp_path / "out").values()) == {b""}


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    """A file where the folder should be, and a device that is full, each give a sentence."""
    (tmp_path / "file").touch()
    log = write(tmp_path / "log.jsonl", traffic(2, 10))
    with pytest.raises(OutputError, match="cannot write results"):
        replay([log], tmp_path / "file", Config(), None)
    full = tmp_path / "full"
    full.mkdir()
    for name in FILES:
        (full / name).symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        replay([log], full, Config(), None, clock=CLOCK)


def test_fitting_reads_only_what_is_valid(tmp_path: Path) -> None:
    """Broken lines in a benign log do not stop the fit, and the baseline names its clients."""
    lines = traffic(30, 60)
    lines[5:5] = [b"{broken", b""]
    fitted = replaying.fit([write(tmp_path / "log.jsonl", lines)], Config())
    assert fitted.notes["m"]["clients"] == 31
    assert fitted.models["m"].reference.dimension == 12


def test_a_client_to_leave_out_must_exist(tmp_path: Path) -> None:
    """A mistyped name would leave a thief in the baseline."""
    log = write(tmp_path / "log.jsonl", [line("acme", number, [float(number), 1.0]) for number in range(9)])
    with pytest.raises(ConfigError, match="no client of the logs is called 'acne'"):
        replaying.fit([log], Config(), exclude=["acme", "acne"])


def distinct(lines: list[bytes]) -> list[bytes]:
    """Give every record a time of its own."""
    records = [json.loads(text) for text in lines]
    return [json.dumps({**record, "time": START_MS + number * 90}).encode() for number, record in enumerate(records)]


@settings(deadline=None, max_examples=5)
@given(st.integers(2, 4), st.integers(0, 2**32), st.sampled_from([1, 13, 1000]))
def test_parts_of_a_log_replay_as_the_whole(tmp_path_factory: pytest.TempPathFactory, parts: int, seed: int, size: int) -> None:
    """Logs of several replicas give what one sorted log gives, byte for byte; dead-letter records alone name other places."""
    folder = tmp_path_factory.mktemp("parts")
    lines = distinct(traffic(6, 40))
    lines[30] = b"{broken"
    owners = np.random.default_rng(seed).integers(parts, size=len(lines))
    logs = [
        write(folder / f"{part}.jsonl", [text for text, owner in zip(lines, owners, strict=True) if owner == part])
        for part in range(parts)
    ]
    replay([write(folder / "whole.jsonl", lines)], folder / "whole", Config(), None, clock=CLOCK)
    done = replay(logs, folder / "merged", Config(), None, batch_size=size, clock=CLOCK)
    for name in FILES[:3]:
        assert (folder / "merged" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    (dead_letter,) = dead_letters(folder / "merged")
    assert Path(dead_letter["source"]).read_bytes().splitlines()[int(dead_letter["line"]) - 1] == b"{broken"
    assert done.summary["reasons"] == {"json": 1}
    assert done.problems == ()


def test_a_log_that_is_newest_first_is_a_problem(tmp_path: Path) -> None:
    """Results are written, and the sentence says how to turn the log round."""
    lines = [line("client", number, [float(number), 1.0], 0) for number in range(0, 90_000, 60)]
    done = replay([write(tmp_path / "log.jsonl", lines[::-1])], tmp_path / "out", Config(), None, clock=CLOCK)
    (problem,) = done.problems
    assert "newest first" in problem
    assert done.summary["reasons"]["late"] > len(lines) / 2
    with pytest.raises(SourceError, match="newest first"):
        replaying.fit([write(tmp_path / "log.jsonl", lines[::-1])], Config())


def test_a_log_of_another_format_is_a_problem(tmp_path: Path) -> None:
    """Nothing could be used, so there is no result to believe."""
    done = replay([write(tmp_path / "log.csv", [b"a,b"] * 20)], tmp_path / "out", Config(), None, clock=CLOCK)
    assert done.problems == ("none of the 19 records could be used: 19 schema",)
    assert any("schema export" in sentence for sentence in done.refused)
    assert done.summary["reasons"] == {"schema": 19}


def test_fitting_tells_what_it_left_out(tmp_path: Path) -> None:
    """What is broken is counted once, although the log is read twice."""
    lines = traffic(30, 60)
    lines[5:5] = [b"{broken", b""]
    tally = replaying.Read()
    replaying.fit([write(tmp_path / "log.jsonl", lines)], Config(), tally=tally)
    assert tally.refusals.reasons == {"json": 2}
    assert tally.events == len(lines) - 2
    (sentence,) = tally.tell()
    assert "log.jsonl:6: " in sentence

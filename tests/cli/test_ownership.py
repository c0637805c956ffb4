"""`detector ownership` as people start it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from detector.cli import app
from detector.errors import ConfigError, OutputError, OwnershipError
from tests.ownership.served import Served, serve

SUSPECT = """
import numpy as np
from tests.ownership.served import model

ASKED = []

def copy(X):
    ASKED.append(len(X))
    return np.eye(4)[model(X + 0.2).argmax(axis=1)]

def itself(X):
    return model(X)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("owner"))


@pytest.fixture(autouse=True)
def suspects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suspects.py").write_text(SUSPECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["ownership", *map(str, arguments)])


def verify(served: Served, suspect: str, *arguments: Any) -> Result:
    fixed = ("--suspect", suspect, "--log", served.log, "-c", served.config, "--counterfeits", 199, "--out", "report")
    return run("verify", *fixed, *arguments)


def test_a_commitment_is_made_once(served: Served, tmp_path: Path) -> None:
    """With the request for its time stamp; strength and flips are printed."""
    config = tmp_path / "detector.toml"
    config.write_text(f'[ownership]\nkey_file = "{served.folder / "key"}"\nepoch = "2"\n')
    (tmp_path / "model.bin").write_bytes(b"weights")
    out = tmp_path / "ownership.json"
    made = run("commit", served.log, "-c", config, "--out", out, "--model-file", "model.bin", "--json")
    assert made.exit_code == 0, made.output
    said, written = json.loads(made.stdout), json.loads(out.read_text())
    assert said["flips"] <= 0.02
    assert (written["model"], written["strength"], written["classes"]) == ("m", 2.0, 4)
    gauge = tmp_path / "ownership.gauge.npz"
    assert said["gauge"] == str(gauge)
    assert hashlib.sha256(gauge.read_bytes()).hexdigest() == written["gauge_sha256"]
    assert gauge.stat().st_mode & 0o077 == 0
    assert len(written["model_sha256"]) == 64
    assert Path(said["request"]).stat().st_size > 50
    assert out.stat().st_mode & 0o077 == 0
    again = run("commit", served.log, "-c", config, "--out", out)
    assert isinstance(again.exception, ConfigError)
    assert "there is a commitment already" in str(again.exception)
    out.unlink()
    assert "there is a commitment already" in str(run("commit", served.log, "-c", config, "--out", out).exception)
    without = run("commit", served.log, "--out", tmp_path / "other.json")
    assert "master key" in str(without.exception)


def test_strengths_are_shown(served: Served) -> None:
    found = run("strength", served.log, "--json")
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert content["chosen"]["flips"] <= 0.02
    shares = [one["flips"] for one in content["others"]]
    assert shares == sorted(shares)
    assert "of the labels" in run("strength", served.log).stdout


def test_too_little_to_choose_by(tmp_path: Path, served: Served) -> None:
    log = tmp_path / "short.jsonl"
    log.write_text("".join(served.log.read_text().splitlines(keepends=True)[:40]))
    found = run("strength", log)
    assert isinstance(found.exception, OwnershipError)
    assert "40 different inputs" in str(found.exception)


def test_a_suspect_is_tested(served: Served) -> None:
    """Without a time stamp nothing is provable: exit status 1, and the p-value under its heading."""
    found = verify(served, "suspects:copy", "--client", "thief", "--json")
    assert found.exit_code == 1, found.output
    content = json.loads(found.stdout)
    assert content["sentences"][0] == "not provable: the key was not committed"
    assert content["rows"][0]["subject"] == "client:thief"
    assert 0 < content["rows"][0]["p"] <= 1
    assert content["rows"][0]["dawn"]["matches"] <= content["rows"][0]["dawn"]["misled"]
    assert sorted(path.name for path in Path("report").iterdir()) == ["answers.jsonl", "key-1.png", "report.json", "report.md"]
    again = verify(served, "suspects:copy", "--client", "thief")
    assert "not provable" in again.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("suspect", "arguments", "kind", "said"),
    [
        ("suspects:copy", ("--client", "other"), OwnershipError, "nothing was marked for this client"),
        ("suspects:itself", ("--client", "thief"), OwnershipError, "own answers"),
        ("http://localhost:8081", ("--client", "thief"), OwnershipError, "is the model itself"),
        ("http://127.0.0.1:9/x", ("--client", "thief", "--own-url", "http://127.0.0.1:9"), OwnershipError, "the model itself"),
        ("http://203.0.113.9/x", ("--client", "thief"), ConfigError, "--i-may-ask"),
        ("suspects:copy", (), ConfigError, "--client"),
        ("suspects:nobody", ("--client", "thief"), ConfigError, "nobody"),
        ("suspects:copy", ("--all-clients", "--max-queries", 60), OwnershipError, "--max-queries"),
        ("suspects:copy", ("--client", "thief", "--commitment", "none.json"), ConfigError, "cannot read the commitment"),
    ],
)
def test_what_is_refused(served: Served, suspect: str, arguments: tuple[Any, ...], kind: type[Exception], said: str) -> None:
    found = verify(served, suspect, *arguments)
    assert isinstance(found.exception, kind), found.output
    assert said in str(found.exception)
    assert not Path("report", "report.md").exists()


def test_evidence(served: Served, tmp_path: Path) -> None:
    """Exported, checked, changed, and found to be changed."""
    fixed = ("--log", served.log, "-c", served.config)
    out = tmp_path / "evidence.zip"
    made = run("export", "--client", "thief", *fixed, "--out", out, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["records"] == 400
    chain = run("chain", *fixed, "--out", "chain.jsonl", "--whole")
    assert chain.exit_code == 0, chain.output
    found = run("check", out, "--chain", "chain.jsonl")
    assert found.exit_code == 0, found.output
    assert "whole: 400 marked answers to thief of model m" in found.stdout
    assert json.loads(run("check", out, "--json").stdout)["records"] == 400
    none = run("chain", *fixed, "--out", "chain.jsonl")
    assert "no hour" in str(none.exception)
    nobody = run("export", "--client", "other", *fixed, "--out", out)
    assert "nothing was marked" in str(nobody.exception)
    lost = run("export", "--client", "thief", *fixed, "--out", tmp_path / "no" / "e.zip")
    assert isinstance(lost.exception, OutputError)
    (tmp_path / "bad.zip").write_bytes(b"")
    assert "no evidence package" in str(run("check", "bad.zip").exception)


def test_a_request_for_any_file(tmp_path: Path) -> None:
    pytest.importorskip("rfc3161_client")
    (tmp_path / "chain.jsonl").write_bytes(b"{}\n")
    assert run("stamp", "chain.jsonl").exit_code == 0
    assert (tmp_path / "chain.jsonl.tsq").stat().st_size > 50
    wrong = run("stamp", "chain.jsonl", "--response", "chain.jsonl", "--tsa-root", "chain.jsonl")
    assert isinstance(wrong.exception, ConfigError)


def test_a_commitment_after_the_first_mark_is_refused(served: Served, tmp_path: Path) -> None:
    """Under another epoch it is made, and it leaves nothing behind where the disk is full."""
    config = tmp_path / "detector.toml"
    config.write_text(f'[ownership]\nkey_file = "{served.folder / "key"}"\n')
    late = run("commit", served.log, "-c", config, "--out", "late.json")
    assert isinstance(late.exception, OwnershipError)
    assert "marked under epoch '1', the first on 2026-05-04" in str(late.exception)
    assert not Path("late.json").exists()


def test_a_key_that_others_may_read_is_told(served: Served, tmp_path: Path) -> None:
    """It is the whole secret."""
    key, config = tmp_path / "owner.key", tmp_path / "detector.toml"
    key.write_text("a" * 64)
    config.write_text(f'[ownership]\nkey_file = "{key}"\nepoch = "2"\n')
    for mode, told in ((0o644, True), (0o600, False)):
        key.chmod(mode)
        made = run("commit", served.log, "-c", config, "--out", f"{mode}.json")
        assert made.exit_code == 0, made.output
        assert (f"chmod 600 {key}" in made.stderr) == told


def test_suspects_who_name_their_classes(served: Served) -> None:
    """In the order of the model's classes, each once."""
    Path("words.py").write_text(
        "from tests.ownership.served import model\ndef say(X):\n    return ['abcd'[i] for i in model(X + 0.2).argmax(1)]\n"
    )
    unknown = verify(served, "words:say", "--client", "thief")
    assert "known are" in str(unknown.exception)
    few = verify(served, "words:say", "--client", "thief", "--class-names", "a,b")
    assert "names 2 classes, and the model has 4" in str(few.exception)
    tested = verify(served, "words:say", "--client", "thief", "--class-names", "a,b,c,d")
    assert tested.exit_code == 1, tested.output
    assert "not provable" in tested.stdout


@pytest.mark.parametrize(
    "suspect", ["http://localhost:port/x", "http://[::1/x", "http:///x", "http://user:secret@localhost:9/x"]
)
def test_addresses_that_are_none(served: Served, suspect: str) -> None:
    """No password is printed."""
    found = verify(served, suspect, "--client", "thief")
    assert isinstance(found.exception, ConfigError)
    assert "address" in str(found.exception)
    assert "secret" not in str(found.exception)

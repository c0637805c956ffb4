"""The logs that a notebook is about: as `detector replay` takes them."""

from pathlib import Path

import pytest

import detector
from detector.errors import OutputError, SourceError
from detector.offline import analysis
from detector.offline.analysis.own import open_logs
from detector.testing import traffic


def test_own_logs_are_recognised(tmp_path: Path) -> None:
    """The format is ``auto``, unless the configuration or the caller names one; nothing is simulated."""
    file = tmp_path / "detector.toml"
    file.write_text('[ingest]\nformat = "kserve"\n')
    assert open_logs(tmp_path / "out", "log.jsonl").config.ingest.format == "auto"
    assert open_logs(tmp_path / "out", "log.jsonl", config=file).config.ingest.format == "kserve"
    assert open_logs(tmp_path / "out", "log.jsonl", config=file, log_format="kong").config.ingest.format == "kong"
    assert list((tmp_path / "out").iterdir()) == []


def test_without_a_history(tmp_path: Path) -> None:
    """The baseline of the configuration, else the log itself."""
    file = tmp_path / "detector.toml"
    file.write_text('[baseline]\npath = "known"\n')
    assert open_logs(tmp_path, "log.jsonl").history == "log.jsonl"
    assert open_logs(tmp_path, "log.jsonl", history="old.jsonl").history == "old.jsonl"
    assert open_logs(tmp_path, "log.jsonl", config=file).history is None


def test_labels(tmp_path: Path) -> None:
    """Those of the file; none without one."""
    (tmp_path / "labels.csv").write_text("client,hostile\nacme,1\n")
    assert open_logs(tmp_path, "log.jsonl").labels == {}
    assert open_logs(tmp_path, "log.jsonl", labels=tmp_path / "labels.csv").labels == {"acme": True}
    with pytest.raises(SourceError, match="cannot read the labels"):
        open_logs(tmp_path, "log.jsonl", labels="none.csv")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is an error of the output."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make"):
        open_logs(tmp_path / "file" / "folder", "log.jsonl")


def test_folders_and_patterns_are_replayed(tmp_path: Path) -> None:
    """As by the command; a pattern without files is an error."""
    lines = traffic(queries=20)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.jsonl").write_bytes(b"\n".join(lines[:50]))
    (tmp_path / "logs" / "b.jsonl").write_bytes(b"\n".join(lines[50:]))
    for log in (tmp_path / "logs", tmp_path / "logs" / "*.jsonl"):
        assert detector.replay(log).summary["events"] == len(lines)
    with pytest.raises(SourceError, match="there is no log file in it"):
        detector.replay(tmp_path / "logs" / "*.csv")


def test_rules_of_clients_are_exported(tmp_path: Path) -> None:
    """The written configuration reads the same logs: lists of tables are TOML, too."""
    file = tmp_path / "detector.toml"
    file.write_text(
        '[[ingest.clients]]\nheader = "x-key"\nnormalize = ["trim"]\n[ingest.mapping]\nclient = "user"\n'
        '[models.fraud.columns]\namount = "number"\n'
    )
    config = detector.load_config(file)
    analysis.write_config(config, tmp_path / "tuned.toml")
    again = detector.load_config(tmp_path / "tuned.toml")
    assert (again.ingest, again.models) == (config.ingest, config.models)

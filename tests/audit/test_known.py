"""What an audit reads besides the log: decisions, a bench, a commitment, true labels. Wrong files are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from detector.audit.known import read_bench, read_commitment, read_truth
from detector.audit.trail import read_trail
from detector.contracts.decision import Decision
from detector.errors import SourceError
from tests.audit.logs import START_MS, decision, written


def saved(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def theft(model: str, defence: str, queries: int | None) -> dict[str, Any]:
    reached = [{"fidelity": 0.8, "queries": 5}, {"fidelity": 0.9, "queries": queries, "money": None}]
    return {"model": model, "defence": defence, "attack": "random", "reached": reached}


def test_the_cheapest_attack_without_a_defence_counts(tmp_path: Path) -> None:
    """Of one model for every name, of several by name; what was not reached is not guessed."""
    one = [theft("module:fraud", "none", 400), theft("module:fraud", "none", 200), theft("module:fraud", "top1", 20)]
    bench = read_bench(saved(tmp_path / "bench.json", {"thefts": one}))
    assert bench.of("fraud") == 200
    bench = read_bench(saved(tmp_path / "bench.json", {"thefts": [*one, theft("other", "none", None)]}))
    assert (bench.of("module:fraud"), bench.of("other"), bench.of("third")) == (200, None, None)
    assert read_bench(saved(tmp_path / "bench.json", {"queries_to_90": 7})).of("any") == 7


@pytest.mark.parametrize("content", ["{", "[]", '{"thefts": [1]}', '{"thefts": 3}', '"text"', '{"queries_to_90": 0}'])
def test_what_is_no_bench_is_refused(tmp_path: Path, content: str) -> None:
    """With the file's name."""
    with pytest.raises(SourceError, match=r"bench\.json"):
        read_bench(saved(tmp_path / "bench.json", content))
    with pytest.raises(SourceError, match="No such file"):
        read_bench(tmp_path / "nothing.json")


def test_commitments(tmp_path: Path) -> None:
    """When it was made, if it says so."""
    assert read_commitment(saved(tmp_path / "c", {"created": "2026-05-04T10:31:07Z"})).made_ms == START_MS
    assert read_commitment(saved(tmp_path / "c", {"key": "x"})).made_ms is None
    assert read_commitment(saved(tmp_path / "c", {"epoch": "2"})).epoch == "2"
    with pytest.raises(SourceError, match="no time"):
        read_commitment(saved(tmp_path / "c", {"created": "yesterday"}))
    with pytest.raises(SourceError, match="no time"):
        read_commitment(saved(tmp_path / "c", {"created": 7}))
    with pytest.raises(SourceError, match="no JSON object"):
        read_commitment(saved(tmp_path / "c", []))


def test_true_labels(tmp_path: Path) -> None:
    """Numbers and texts are compared as text; a wrong line is named."""
    lines: list[dict[str, Any]] = [{"event_id": "a", "label": 1}, {"event_id": "b", "label": "cat"}]
    assert read_truth(written(tmp_path / "t", lines)) == {"a": "1", "b": "cat"}
    with pytest.raises(SourceError, match="t:2"):
        read_truth(written(tmp_path / "t", [*lines[:1], {"event_id": "b"}]))
    with pytest.raises(SourceError, match="no true label"):
        read_truth(saved(tmp_path / "t", "\n"))


def test_decisions_are_those_of_the_contract(tmp_path: Path) -> None:
    """What the detector writes is read, by time; lines that are none are counted."""
    later, earlier = decision(2, 50, 90), decision(1, 10, 90)
    assert Decision.model_validate_json(json.dumps(later | {"schema_version": 1}))
    path = written(tmp_path / "d.jsonl", [later, earlier, {"no": "decision"}])
    trail = read_trail(path)
    assert [entry.issued_ms - START_MS for entry in trail.entries] == [10_000, 50_000]
    assert (trail.unreadable, trail.audited, trail.entries[0].policy) == (1, None, "0123456789ab")


def test_a_file_without_decisions_is_another_file(tmp_path: Path) -> None:
    """An empty one is a run that decided nothing."""
    with pytest.raises(SourceError, match="is a decision"):
        read_trail(written(tmp_path / "d.jsonl", [{"event": 1}]))
    with pytest.raises(SourceError, match="No such file"):
        read_trail(tmp_path / "nothing.jsonl")
    assert read_trail(written(tmp_path / "empty.jsonl", [])).entries == ()

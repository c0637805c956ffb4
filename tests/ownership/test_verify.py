"""The test of a suspect: copies are found, innocents are not, and what cannot be tested is refused."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import load
from detector.errors import ConfigError, ModelError, OwnershipError
from detector.ownership.answers import Read, events_of, read_answers
from detector.ownership.dawn import dawn_test
from detector.ownership.ranking import Asked, counterfeit_keys, rank_p, scores
from detector.ownership.report import NOT_PROVABLE, sentences, to_dict, write_report
from detector.ownership.suspect import ask
from detector.ownership.verify import Plan, Settings, Verified, plan, verify
from detector.perturb.tilt import Frame
from tests.ownership.served import CLASSES, DIMENSION, MARKED_FROM, SECRET, Served, model

BEFORE = dt.datetime.fromtimestamp(MARKED_FROM / 1000 - 3600, dt.UTC)
FEW = Settings(counterfeits=19_999)


def read(served: Served, most: int = 700) -> Read:
    return read_answers(events_of([str(served.log)], load(served.config), "m"), DIMENSION, CLASSES, most)


def planned(served: Served, client: str | None = "thief", settings: Settings = FEW) -> Plan:
    return plan(read(served), served.made, SECRET.encode(), client, settings)


def outcome(
    served: Served, said: Any, stamped: Any = BEFORE, settings: Settings = FEW, *, labels_only: bool = False
) -> Verified:
    chosen = planned(served, settings=settings)
    return verify(chosen, said(chosen.inputs().astype(float)), "suspect", settings, labels_only=labels_only, stamped=stamped)


def test_a_copy_is_named(served: Served) -> None:
    """By the tilt and by the wrong labels; both rows say so."""
    found = outcome(served, served.told)
    (row,) = found.rows
    assert row.p == 1 / 20_000
    assert row.dawn is not None
    assert row.dawn.matches == row.dawn.misled > 3
    assert [one.subject for one in found.named] == ["client:thief"]
    assert row.corrected <= 1e-4
    assert "It was copied from answers" in sentences(found)[0]
    assert "in 1 of" in sentences(found)[0]


def test_an_innocent_is_not(served: Served) -> None:
    """Nor is a model with the same errors as ours, but for the mark."""
    rng, quick = np.random.default_rng(5), Settings(counterfeits=1999)
    for _ in range(3):
        noise = rng.normal(size=(DIMENSION, CLASSES))
        found = outcome(served, lambda X, noise=noise: model(X + 0.3 * np.tanh(X @ noise @ noise.T)), settings=quick)
        assert found.rows[0].p > 1e-3
        assert not found.named
        assert "Nothing is shown" in " ".join(sentences(found)) or "a lead" in " ".join(sentences(found))


def test_without_a_stamp_nothing_is_provable(served: Served) -> None:
    """The p-value is there, under its heading; so is it where the stamp came too late."""
    late = dt.datetime.fromtimestamp(MARKED_FROM / 1000 + 60, dt.UTC)
    for stamped, why in ((None, "no time stamp"), (late, "after the first marked answer")):
        found = outcome(served, served.told, stamped, Settings(counterfeits=199))
        said = sentences(found)
        assert said[0] == NOT_PROVABLE
        assert why in said[1]
        assert not found.named
        assert found.rows[0].corrected <= 0.05


def test_few_counterfeits_name_nobody(served: Served) -> None:
    few, made = Settings(counterfeits=999), replace(served.made, dawn_rate=0.0)
    chosen = plan(read(served), made, SECRET.encode(), "thief", few)
    found = verify(chosen, served.told(chosen.inputs().astype(float)), "x", few, labels_only=False, stamped=BEFORE)
    assert found.rows[0].dawn is None
    assert not found.named
    assert any("Set --counterfeits" in one for one in sentences(found))


def test_every_test_counts(served: Served) -> None:
    """Two kinds of marks, for each key and each suspect that was tried."""
    chosen = planned(served, client=None, settings=Settings(1000, 199, tried=3))
    assert len(chosen.parts) == 2
    found = verify(chosen, served.told(chosen.inputs().astype(float)), "x", Settings(1000, 199, tried=3), labels_only=False)
    assert found.tests == 2 * 2 * 3
    assert all(row.corrected == min(1.0, min(row.p, row.dawn.p if row.dawn else 1.0) * 12) for row in found.rows)


def test_the_model_itself_is_refused(served: Served) -> None:
    with pytest.raises(OwnershipError, match="own answers"):
        outcome(served, model)
    with pytest.raises(OwnershipError, match="3 classes"):
        outcome(served, lambda X: model(X)[:, :3])


def test_what_cannot_be_outcome(served: Served) -> None:
    """No mark, too few, another key or epoch, too few uncertain inputs, too many keys for the queries."""
    for client in ("other", "nobody"):
        with pytest.raises(OwnershipError, match="nothing was marked for this client"):
            planned(served, client)
    found = read(served)
    few = next(one for one in found.subjects.values() if one.name.subject == "client:thief")
    answers, few.answers = few.answers, 49
    with pytest.raises(OwnershipError, match="49 marked answers, and 50 are needed"):
        plan(found, served.made, SECRET.encode(), "thief", FEW)
    few.answers = answers
    with pytest.raises(OwnershipError, match="another master key"):
        plan(found, served.made, b"another master key.", "thief", FEW)
    with pytest.raises(OwnershipError, match="another epoch"):
        plan(found, replace(served.made, epoch="2"), SECRET.encode(), "thief", FEW)
    with pytest.raises(OwnershipError, match="uncertain about, and 30 are needed"):
        plan(found, replace(served.made, strength=1e-4), SECRET.encode(), "thief", FEW)
    with pytest.raises(OwnershipError, match="--max-queries"):
        plan(found, served.made, SECRET.encode(), None, Settings(650))


def test_a_log_without_marks(tmp_path: Path, served: Served) -> None:
    """Nor does an answer without the model's own probabilities count."""
    log = tmp_path / "log.jsonl"
    lines = served.log.read_text().splitlines()
    plain = [json.loads(line) for line in lines]
    for entry in plain:
        entry["output"].pop("original", None)
    log.write_text("".join(json.dumps(entry) + "\n" for entry in plain))
    found = read_answers(events_of([str(log)], load(None), "m"), DIMENSION, CLASSES, 700)
    assert (found.events, found.subjects) == (len(lines), {})
    assert found.unusable == 460
    with pytest.raises(OwnershipError, match="nothing was marked"):
        plan(found, served.made, SECRET.encode(), "thief", FEW)


def test_memory_is_bounded(served: Served) -> None:
    """Of many inputs the least certain ones are kept, each once, whatever the order."""
    found = read(served, 50)
    kept = found.others.answers()
    assert len(kept) == 50
    gaps = sorted(one.gap for one in read(served).others.answers())
    assert [one.gap for one in kept] == gaps[:50]


def test_a_suspect_that_fails_is_asked_on(served: Served, tmp_path: Path) -> None:
    """What it has answered is not asked again; another suspect's answers are not taken for its own."""
    X = planned(served).inputs()[:100]
    asked: list[int] = []

    def weary(rows: Any) -> Any:
        if sum(asked) >= 64:
            raise ModelError("suspect answered 429 Too Many Requests")
        asked.append(len(rows))
        return model(rows)

    kept = tmp_path / "deep" / "answers.jsonl"
    with pytest.raises(OwnershipError, match="64 of 100 inputs are answered") as raised:
        ask(X, weary, "s", kept)
    assert "429" in str(raised.value)
    with kept.open("ab") as file:
        file.write(b'{"input": "cut o')
    again: list[int] = []

    def well(rows: Any) -> Any:
        again.append(len(rows))
        return model(rows)

    assert np.array_equal(ask(X, well, "s", kept), model(X.astype(float)))
    assert sum(again) == 36
    with pytest.raises(ConfigError, match="answers of s"):
        ask(X, well, "t", kept)


def test_the_report(served: Served, tmp_path: Path) -> None:
    found = outcome(served, served.told, None, Settings(counterfeits=199))
    files = write_report(found, tmp_path / "report", BEFORE)
    text = files[0].read_text()
    assert f"## {NOT_PROVABLE}" in text
    assert "client:thief" in text
    assert "for counsel" in text
    assert json.loads(files[1].read_text())["rows"][0]["p"] == found.rows[0].p == to_dict(found)["rows"][0]["p"]
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_the_rank_of_an_independent_suspect_is_uniform() -> None:
    """Whatever it says: each key is as good as another."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, DIMENSION)).astype(np.float32)
    asked = Asked(X, model(X.astype(float)), Frame(np.zeros(DIMENSION), np.ones(DIMENSION), 3.0), 1.0)
    answers = np.eye(CLASSES)[rng.integers(CLASSES, size=60)]
    keys = counterfeit_keys(b"x", 400)
    found = scores(asked, keys, answers[None])[:, 0]
    ps = np.array([rank_p(float(value), found[:99]) for value in found[99:]])
    assert 0.4 < ps.mean() < 0.6
    assert (ps <= 0.1).mean() < 0.17
    assert (ps >= 0.9).mean() < 0.17


@given(st.lists(st.floats(-1e3, 1e3), max_size=50), st.floats(-1e3, 1e3))
def test_no_p_value_is_zero(counterfeits: list[float], value: float) -> None:
    assert 1 / (1 + len(counterfeits)) <= rank_p(value, np.array(counterfeits)) <= 1.0


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_dawn_is_conservative(classes: int, seed: int) -> None:
    """A suspect that differs at random has no small p-value but by chance; one that repeats all has one."""
    rng = np.random.default_rng(seed)
    own = rng.integers(classes, size=60)
    told = own.copy()
    told[:6] = (told[:6] + 1) % classes
    found = dawn_test(own, told, rng.integers(classes, size=60), classes)
    assert 0.0 < found.p <= 1.0
    assert found.misled == 6
    assert dawn_test(own, told, told, classes).p < 1e-6
    assert dawn_test(own, told, own, classes).p == 1.0

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
from detector.ownership.answers import Kept, Read, events_of, read_answers
from detector.ownership.commit import Sample, chosen
from detector.ownership.dawn import dawn_test
from detector.ownership.ranking import Asked, counterfeit_keys, rank_p, scores
from detector.ownership.report import NOT_PROVABLE, sentences, to_dict, write_report
from detector.ownership.suspect import ask
from detector.ownership.verify import Plan, Settings, Verified, plan, verify
from detector.perturb.strengths import Strengths
from detector.perturb.tilt import Frame, draw, pulls, tilted
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
    held, few.uncertain = few.uncertain, Kept(49)
    for one in held.answers():
        few.uncertain.add(one.gap, one)
    with pytest.raises(OwnershipError, match="marked answers to 49 different inputs, and 50 are needed"):
        plan(found, served.made, SECRET.encode(), "thief", FEW)
    few.uncertain = held
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
    asked = Asked(X, model(X.astype(float)), Strengths(Frame(np.zeros(DIMENSION), np.ones(DIMENSION), 3.0), 1.0))
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


def altered(served: Served, tmp_path: Path, change: Any) -> Path:
    """Return the log, its marked answers to `small` or `thief` changed."""
    out = tmp_path / "altered.jsonl"
    entries = change([json.loads(line) for line in served.log.read_text().splitlines()])
    out.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return out


def of(entries: list[dict[str, Any]], client: str) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["client"]["id"] == client]


def reread(log: Path, served: Served) -> Read:
    return read_answers(events_of([str(log)], load(served.config), "m"), DIMENSION, CLASSES, 700)


def test_nobody_is_framed_by_another_clients_mark(served: Served, tmp_path: Path) -> None:
    """Records that name a victim and bear the thief's mark count for neither, and are told."""

    def framed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        forged = [entry | {"client": {"id": "victim"}, "event_id": f"f{at}"} for at, entry in enumerate(of(entries, "thief"))]
        return [*entries, *forged]

    found = reread(altered(served, tmp_path, framed), served)
    assert found.misnamed == 400
    assert all("victim" not in subject.clients for subject in found.subjects.values())
    with pytest.raises(OwnershipError, match=r"(?s)nothing was marked for this client.*400 records bear the mark of another"):
        plan(found, served.made, SECRET.encode(), "victim", FEW)
    assert "400 records" in plan(found, served.made, SECRET.encode(), "thief", FEW).left_out[0]


def test_one_answer_many_times_is_one(served: Served, tmp_path: Path) -> None:
    """Fifty marked answers are fifty inputs: a log that was shipped twice does not make a test of too few."""

    def repeated(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first = of(entries, "small")[0]
        return [entry for entry in entries if entry["client"]["id"] != "small"] + [first] * 60

    found = reread(altered(served, tmp_path, repeated), served)
    with pytest.raises(OwnershipError, match="marked answers to 1 different inputs, and 50 are needed"):
        plan(found, served.made, SECRET.encode(), "small", FEW)


def test_who_shares_a_key_is_told_with_the_number_of_answers(served: Served, tmp_path: Path) -> None:
    """The test cannot tell them apart, and one record of a victim does not make him as suspect as the thief."""
    quick = Settings(counterfeits=199)
    chosen = planned(served, settings=quick)
    chosen.parts[0].subject.clients["victim"] = 1
    found = verify(chosen, served.told(chosen.inputs().astype(float)), "s", quick, labels_only=False)
    assert found.rows[0].clients == (("thief", 400), ("victim", 1))
    said = " ".join(sentences(found))
    assert "2 clients share it (thief (400), victim (1)), and the test cannot tell which of them leaked" in said
    assert to_dict(found)["rows"][0]["clients"] == [{"client": "thief", "answers": 400}, {"client": "victim", "answers": 1}]
    write_report(found, tmp_path, BEFORE)
    assert "| thief (400), victim (1) |" in (tmp_path / "report.md").read_text()


def test_what_is_no_number_never_fits(served: Served, tmp_path: Path) -> None:
    """Neither as an answer, nor as one that was kept, nor as a rank."""
    chosen = planned(served)
    said = served.told(chosen.inputs().astype(float))
    said[3, 0] = np.nan
    with pytest.raises(OwnershipError, match="no number"):
        verify(chosen, said, "s", FEW, labels_only=False)
    assert rank_p(float("nan"), np.array([1.0, 2.0])) == 1.0
    X, kept, asked = chosen.inputs()[:40], tmp_path / "answers.jsonl", list[int]()

    def counting(rows: Any) -> Any:
        asked.append(len(rows))
        return model(rows)

    ask(X, counting, "s", kept)
    lines = kept.read_bytes().splitlines(keepends=True)
    spoilt = json.loads(lines[5]) | {"answer": [float("nan")] * CLASSES}
    kept.write_bytes(b"".join([*lines[:5], json.dumps(spoilt).encode() + b"\n", *lines[6:]]))
    assert np.isfinite(ask(X, counting, "s", kept)).all()
    assert sum(asked) == 41


def test_an_answer_after_a_torn_line_is_kept(served: Served, tmp_path: Path) -> None:
    """A crash in the middle of a line costs that one, and not the next."""
    X, kept = planned(served).inputs()[:3], tmp_path / "answers.jsonl"
    ask(X[:1], model, "s", kept)
    with kept.open("ab") as file:
        file.write(b'{"input": "cut o')
    ask(X[:2], model, "s", kept)

    def nobody(rows: Any) -> Any:
        raise ModelError(f"asked about {len(rows)} again")

    assert len(ask(X[:2], nobody, "s", kept)) == 2


def test_classes_in_another_order_are_suspected(served: Served) -> None:
    """The suspect's labels are then the model's less often than by chance."""

    def turned(rows: Any) -> Any:
        return np.roll(model(rows), 1, axis=1)

    said = sentences(outcome(served, turned, settings=Settings(counterfeits=199)))
    assert any("another order" in one for one in said)
    assert not any(
        "another order" in one for one in sentences(outcome(served, served.told, settings=Settings(counterfeits=199)))
    )


@pytest.mark.parametrize("own", [0, 60])
def test_independent_models_have_no_small_p_values(own: int) -> None:
    """2,000 of them, each under a key of its own that has its own strength: as rare as the p-value says."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, DIMENSION)).astype(np.float32)
    said = model(X.astype(float))
    strengths, _ = chosen(Sample("m", X[200:], said[200:]), None, 0.05)
    asked = Asked(X[:100], said[:100], strengths, own)
    others = [model(X[:100] + 0.4 * np.tanh(X[:100] @ rng.normal(size=(DIMENSION, DIMENSION)))) for _ in range(2000)]
    answers = np.stack([np.eye(CLASSES)[one.argmax(axis=1)] for one in others])
    keys = [bytes([at % 256, at // 256]) for at in range(2000)]
    found = scores(asked, [*keys, *counterfeit_keys(b"x", 7999)], answers)
    ps = np.array([rank_p(float(found[at, at]), found[2000:, at]) for at in range(2000)])
    assert 0.035 <= (ps <= 0.05).mean() <= 0.055
    assert (ps <= 0.005).mean() <= 0.008
    assert 0.48 <= ps.mean() <= 0.52


def test_a_copy_from_labels_is_found_by_what_it_was_told_nearby() -> None:
    """A vote of neighbours among the told labels, asked elsewhere: it fits its own key, and no other."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, DIMENSION)).astype(np.float32)
    said = model(X.astype(float))
    strengths, _ = chosen(Sample("m", X[500:], said[500:]), None, 0.1)
    key = b"the key of the thief"
    tilts = draw([key], DIMENSION, CLASSES)
    told = tilted(said, pulls(tilts, strengths.frame.placed(X))[0], strengths.of(tilts)[0]).argmax(axis=1)
    near = ((X[:700, None] - X[None, :400]) ** 2).sum(axis=2).argsort(axis=1)[:, :3]
    votes = np.eye(CLASSES)[told[near]].sum(axis=1)
    copy = np.eye(CLASSES)[votes.argmax(axis=1)]
    rows = np.concatenate([np.arange(400), np.arange(400, 700)])
    found = scores(Asked(X[rows], said[rows], strengths, 400), [key, *counterfeit_keys(b"y", 1999)], copy[None])[:, 0]
    assert rank_p(float(found[0]), found[1:]) <= 0.01

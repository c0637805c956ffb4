"""Where the detector stops a thief."""

from pathlib import Path

import numpy as np
import pytest

from detector.config import Config
from detector.errors import BaselineError
from detector.hardening.bench import Plan, Row, bench, days, money
from detector.hardening.defences import defence_of
from detector.hardening.honest import Honest
from detector.hardening.stops import Judge, given_judge, learned_judge
from detector.hardening.subject import Subject, subject_of
from detector.hardening.theft import steal
from detector.redteam.opened import open_model

CONFIG = Config.model_validate({"policy": {"trust_clients": True}, "engine": {"seed": 7}})


def nothing() -> None:
    """Hear of a query."""


@pytest.fixture(scope="module")
def cancer() -> Subject:
    return subject_of("mlp:breast_cancer", open_model("mlp:breast_cancer"))


@pytest.fixture(scope="module")
def judge(cancer: Subject) -> Judge:
    return learned_judge(CONFIG, cancer, 0)


def test_a_thief_who_makes_queries_is_stopped_and_one_who_holds_examples_is_not(cancer: Subject, judge: Judge) -> None:
    """The baseline is fitted on simulated innocents, and says so."""
    assert "simulated innocents" in judge.origin
    made = judge.stop(steal(cancer, cancer.target.predict, "line_search", 200, 1.0, 0, nothing))
    assert made.stopped is not None
    assert made.stopped < 100
    assert made.action in {"perturb", "block"}
    assert made.ignored == 0
    held = judge.stop(steal(cancer, cancer.target.predict, "random", 200, 1.0, 0, nothing))
    assert held.stopped is None


def test_a_model_is_judged_under_the_id_that_the_baseline_knows(cancer: Subject, judge: Judge) -> None:
    """Whatever it is called here; money and days are those of the queries."""
    other = cancer.beside("tests:model", cancer.opened)
    plan = Plan([other], [defence_of("none")], ["line_search"], [50, 100], price=2.0, rate=10.0)
    loss, row = bench(plan, [given_judge(CONFIG, judge.baseline, other, Path("known"))])
    assert isinstance(loss, Honest)
    assert isinstance(row, Row)
    assert row.stop is not None
    assert row.stop.stopped is not None
    assert row.stopped_with is not None
    assert row.exposed <= max([row.stopped_with.fidelity, *(copy.fidelity for copy in row.copies.values())])
    assert row.queries_to(1.01) is None
    assert row.queries_to(0.0) == 25
    assert (money(100, plan.price), days(14400, plan.rate)) == (0.2, 1.0)


def test_a_baseline_of_another_model_is_refused(cancer: Subject, judge: Judge) -> None:
    """By its dimension, and by its name where it knows several."""
    assert given_judge(CONFIG, judge.baseline, cancer, Path("known")).model == judge.model
    wine = subject_of("mlp:wine", open_model("mlp:wine"))
    with pytest.raises(BaselineError, match="takes 30 values there, and 13 here"):
        given_judge(CONFIG, judge.baseline, wine, Path("known"))
    named = Subject("x", cancer.opened, cancer.target, truth=True, model_id="cards")
    with pytest.raises(BaselineError, match="knows no model 'cards'"):
        given_judge(CONFIG, judge.baseline, named, Path("known"))
    assert np.isfinite(judge.baseline.models[judge.model].reference.dimension)

"""Inputs that are hard to handle: every document stays valid, every figure finite."""

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.config import Config
from detector.engine.policy import PERTURB
from detector.engine.shard import EngineSettings, Shard
from detector.testing import Events, MemorySink, batches, watch

Floats = npt.NDArray[np.float64]

LEARNING = Config.model_validate({"engine": {"learning_events": 40}})


def checked(seen: MemorySink, queries: int) -> None:
    """Hold every document to the contract and every figure to finite; nothing may be lost."""
    assert not seen.dead
    assert sum(client["queries"] for client in seen.reported) == queries
    written = seen.written()  # refuses NaN and infinity
    for line in written["clients"].split(b"\n"):
        client = json.loads(line)
        assert np.isfinite([*client["features"].values(), *client["evidence"].values()]).all()
    for alert in seen.raised:
        assert np.isfinite([*alert.detector.features.values(), alert.detector.score]).all()


def asked(kind: str, n: int, dimension: int) -> Floats:
    """Return n inputs of a hard kind."""
    rng = np.random.default_rng(1)
    X = rng.random((n, dimension))
    if kind == "huge":
        return np.where(X < 0.5, -3.4e38, 3.4e38)
    if kind == "huge and small":
        return np.where(X < 0.5, X, 3e38 * X)
    if kind == "denormal":
        return np.asarray(X * 1e-42)
    if kind == "all zero":
        return np.zeros((n, dimension))
    if kind == "constant":
        return np.full((n, dimension), 1e30)
    if kind == "nearly constant":
        return 1e6 + np.where(rng.random((n, dimension)) < 0.01, 0.125, 0.0)
    if kind == "two points":
        return np.repeat(np.arange(n)[:, None] % 2, dimension, axis=1).astype(float)
    if kind == "outlier":
        X[n // 2] = 1e30
        return X
    if kind == "bits":
        return np.rint(X)
    raise AssertionError(kind)


KINDS = ["huge", "huge and small", "denormal", "all zero", "constant", "nearly constant", "two points", "outlier", "bits"]


@pytest.mark.parametrize("dimension", [1, 3, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_hard_inputs_are_learned_and_watched(kind: str, dimension: int) -> None:
    """Also as the first that is ever seen of a model, from which its input space is learned."""
    events = Events()
    X = asked(kind, 240, dimension)
    lines = [events.line(f"c{i % 3}", x, int(x[0] > 0.5), probabilities=[1.0, 0.0]) for i, x in enumerate(X)]
    checked(watch(lines, LEARNING, chunk=100), 240)


@pytest.mark.parametrize("kind", KINDS)
def test_hard_inputs_of_a_client_leave_its_neighbours_alone(kind: str, generated_baseline: Baseline) -> None:
    """A client that sends extremes to a known model is described in finite numbers, and nobody is stopped for it."""
    events = Events("alpha")
    calm = np.random.default_rng(2).random((80, 9))
    lines = []
    for x, y in zip(asked(kind, 80, 9), calm, strict=True):
        lines += [events.line("extreme", x, int(x.sum() > 4.5)), events.line("calm", y, int(y.sum() > 4.5))]
    seen = watch(lines, None, generated_baseline)
    checked(seen, 160)
    assert {client["client"] for client in seen.reported if client["level"] in {"perturb", "block"}} <= {"extreme"}


@settings(max_examples=15)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 60), st.sampled_from([1, 9])),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.lists(
        st.sampled_from([(1.0, 0.0), (0.0, 0.0), (0.5, 0.5), (1.0,), (0.0,), (1e-300, 1.0), None]), min_size=1, max_size=9
    ),
)
def test_any_finite_input_and_any_probability(X: npt.NDArray[np.float32], answers: list[tuple[float, ...] | None]) -> None:
    """Whatever a valid record holds, the pipeline comes to its end."""
    events = Events()
    lines = []
    for i, x in enumerate(X):
        answer = answers[i % len(answers)]
        lines.append(events.line("c", x, 7 if answer is None else None, probabilities=answer))
    checked(watch(lines, Config.model_validate({"engine": {"learning_events": 32}})), len(X))


def test_logs_of_labels_lack_the_figures_of_probabilities(generated_baseline: Baseline) -> None:
    """Confidence and margins are missing, not zero; the rest is there."""
    events = Events("alpha")
    rng = np.random.default_rng(1)
    lines = [events.line("c", rng.random(9), label) for label in rng.choice(["cat", "dog"], 40).tolist()]
    (client,) = watch(lines, None, generated_baseline).reported
    assert {"confidence", "margin", "low_margin_rate"}.isdisjoint(client["features"])
    assert {"flip_rate", "distance_mean", "label_entropy"} <= set(client["features"])


def test_one_input_with_two_answers_convicts_nobody(generated_baseline: Baseline) -> None:
    """A model that wavers between two labels on a still picture makes no evidence, however long it is watched."""
    events = Events("alpha")
    still = np.full(9, 0.4)
    seen = watch([events.line("still", still, i // 5 % 2) for i in range(300)], None, generated_baseline)
    (client,) = seen.reported
    assert client["evidence"]["offset"] == client["evidence"]["bisect"] == 0.0
    assert client["features"]["repeat_rate"] > 0.99
    assert client["level"] in {"allow", "alert", "throttle"}


@pytest.mark.parametrize("known", [False, True])
def test_another_dimension_is_refused(generated_baseline: Baseline, known: bool) -> None:
    """With a baseline, while learning and after it, an input of another length becomes a dead-letter record."""
    events = Events("alpha")
    rng = np.random.default_rng(1)
    lines = [events.line("c", rng.random(9 if i % 7 else 10), 0) for i in range(1, 100)]
    wrong = [number for number in range(1, 100) if number % 7 == 0]
    seen = watch(lines, LEARNING, generated_baseline if known else None, chunk=30)
    assert [(record.line, record.reason) for record in seen.dead] == [(number, "dimension") for number in wrong]
    assert seen.reported[0]["queries"] == 99 - len(wrong)


def test_the_first_event_decides_the_dimension_of_a_model() -> None:
    """However the log is cut, also where both lengths are in the first batch."""
    events = Events()
    rng = np.random.default_rng(1)
    lines = [events.line("c", rng.random(3 if i in {0, 2} else 4), 0) for i in range(60)]
    for chunk in (1, 7, 100):
        seen = watch(lines, LEARNING, chunk=chunk)
        assert [client["queries"] for client in seen.reported] == [2]
        assert len(seen.dead) == 58


def test_categorical_columns_are_learned_as_codes() -> None:
    """Declared in the configuration, also where every column is one."""
    events = Events()
    rng = np.random.default_rng(1)
    lines = [events.line(f"c{i % 4}", rng.integers(0, 5, 3), int(rng.integers(2))) for i in range(200)]
    for columns in ([1], [0, 1, 2]):
        config = Config.model_validate({"engine": {"learning_events": 40}, "models": {"model": {"categorical": columns}}})
        checked(watch(lines, config), 200)


Drift = Callable[[str, int, int], list[bytes]]


@pytest.fixture(scope="module")
def telemetry() -> Drift:
    """Return a maker of readings: thirty sensors that follow two hidden states, each with noise of a quarter of a percent."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 30))

    def made(name: str, clients: int, queries: int) -> list[bytes]:
        events = Events("telemetry")
        state = rng.normal(size=(clients, 2))
        lines = []
        for _ in range(queries):
            state = state * 0.9998 + 0.02 * rng.normal(size=state.shape)
            X = state @ mixing + 0.02 * rng.normal(size=(clients, 30))
            lines += [events.line(f"{name}-{i}", x, int(x[0] > 0)) for i, x in enumerate(X)]
        return lines

    return made


def test_slow_readings_with_little_noise_stop_nobody(telemetry: Drift) -> None:
    """Consecutive readings differ by less than the memory resolves; what rounding leaves of that must not look constructed."""
    benign = batches(telemetry("known", 30, 60))
    baseline = fit_baseline(lambda: benign, EngineSettings())
    shard = Shard(EngineSettings(), baseline.models)
    outputs = shard.process(*batches(telemetry("new", 10, 200)))
    assert baseline.models["telemetry"].channel_scores.max() < 10.0
    assert [order for order in outputs.pending_decisions if order.action >= PERTURB] == []

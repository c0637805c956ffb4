"""Fitting baselines: who teaches, who calibrates, and which logs cannot be fitted on."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.evidence.registry import FOREIGN
from detector.engine.features.row import NAMES
from detector.engine.shard import EngineSettings
from detector.errors import BaselineError
from detector.ingest.batch import Batch
from detector.ingest.packing import label_code
from detector.testing import Events, batches, traffic


def lines(clients: int, queries: int, model: str = "m", dimension: int = 5) -> list[bytes]:
    """Return the log of independent clients."""
    rng = np.random.default_rng(1)
    events = Events(model)
    return [
        events.line(f"c{client}", rng.random(dimension), int(rng.integers(3)))
        for _ in range(queries)
        for client in range(clients)
    ]


def test_the_log_may_come_in_any_pieces(digits_batches: list[Batch], digits_baseline: Baseline) -> None:
    """A baseline depends on the events alone: cut elsewhere, the same version."""
    (whole,) = digits_batches
    pieces = [whole.take(np.arange(at, min(at + 217, len(whole)))) for at in range(0, len(whole), 217)]
    assert fit_baseline(lambda: pieces, EngineSettings(seed=5)).version == digits_baseline.version
    assert fit_baseline(lambda: pieces, EngineSettings(seed=6)).version != digits_baseline.version


def test_early_clients_teach_and_later_ones_calibrate(digits_baseline: Baseline) -> None:
    """With thirty clients ten teach the reference, and twenty others say how often an innocent client passes a threshold."""
    notes = digits_baseline.notes["digits"]
    assert (notes["teaching_clients"], notes["calibration_clients"], notes["split"]) == (10, 20, True)
    assert digits_baseline.models["digits"].channel_scores.shape == (20, len(CHANNELS))
    assert set(notes["clients_with_most_evidence"]) <= {f"reader-{i}" for i in range(10, 30)}
    assert (notes["queries"], notes["clients"], notes["labels"], notes["dimension"]) == (1200, 30, 10, 64)


def test_calibration_clients_do_not_teach_how_often_labels_turn() -> None:
    """Whatever the answers to later clients, the rates of turns are those of the teachers."""

    def rates(answers: Callable[[int, int], int]) -> list[list[float]]:
        """Return the rates where `answers` are those to a client's queries; of 60 clients 20 teach."""
        rng = np.random.default_rng(1)
        events = Events("m")
        log = [events.line(f"c{who}", rng.random(5), answers(who, turn)) for turn in range(20) for who in range(60)]
        turning: list[list[float]] = fit_baseline(lambda: batches(log), EngineSettings()).models["m"].reference.turning.tolist()
        return turning

    steady = rates(lambda _, turn: turn // 10)
    assert rates(lambda who, turn: turn % 2 if who >= 20 else turn // 10) == steady
    assert rates(lambda who, turn: turn % 2 if who < 20 else turn // 10) != steady


def test_in_a_small_log_all_clients_teach_how_often_labels_turn() -> None:
    """Of 27 clients nine teach, of whom five have pairs, too few for a rate; with the other 18 there is one."""
    rng = np.random.default_rng(1)
    events = Events("m")
    apart = [[events.line(f"c{who}", rng.random(5) * (1 + 99 * (turn % 2)), 0) for turn in range(20)] for who in range(4)]
    near = [[events.line(f"c{who}", rng.random(5), turn // 10) for turn in range(20)] for who in range(4, 27)]
    log = [line for own in (*apart, *near) for line in own]
    assert fit_baseline(lambda: batches(log), EngineSettings()).models["m"].reference.turning.min() < 1.0


def test_many_clients_of_one_query_leave_room_for_the_openings_of_teachers() -> None:
    """Visitors who came before them hold few queries."""
    rng = np.random.default_rng(1)
    events = Events("m")
    log = [events.line(f"v{who}", rng.random(5), 0) for who in range(400)]
    log += [events.line(f"c{who}", rng.random(5), turn // 10) for who in range(60) for turn in range(20)]
    assert fit_baseline(lambda: batches(log), EngineSettings()).models["m"].reference.turning.min() < 1.0


def test_few_clients_serve_both_ends() -> None:
    """Below 24 clients nobody can be spared, and the notes say so."""
    notes = fit_baseline(lambda: batches(lines(12, 20)), EngineSettings()).notes["m"]
    assert (notes["teaching_clients"], notes["calibration_clients"], notes["split"]) == (12, 12, False)


def test_a_thief_among_the_benign_is_listed_first() -> None:
    """Whoever reads the notes sees the client whose evidence raised the thresholds."""
    found = fit_baseline(lambda: batches(traffic(innocents=11, thieves=1, queries=60)), EngineSettings())
    assert next(iter(found.notes["model"]["clients_with_most_evidence"])) == "thief-0"


def test_the_order_of_calibration_does_not_depend_on_what_clients_are_called() -> None:
    """Other names, in another order of the alphabet, put the same clients into the same folds with the same features.

    Only `structure` differs, and the channel `foreign` that goes by it: which pairs of a client's queries are compared is drawn
    from the client's secret number.
    """
    rng = np.random.default_rng(8)
    sessions = [(rng.normal(size=6), rng.uniform(0.2, 2.0)) for _ in range(40)]
    queries = [[(middle + spread * rng.normal(size=6), int(rng.integers(3))) for _ in range(40)] for middle, spread in sessions]
    found = []
    for names in ([f"c{i:02}" for i in range(40)], [f"{(i * 17) % 40:02}-renamed" for i in range(40)]):
        events = Events("m")
        log = batches([events.line(names[i], *queries[i][at]) for at in range(40) for i in range(40)])
        found.append(fit_baseline(lambda log=log: log, EngineSettings(seed=3)).models["m"])  # type: ignore[misc]
    one, other = found
    assert one.evaluations is not None
    assert other.evaluations is not None
    assert np.array_equal(one.evaluations.client, other.evaluations.client)
    assert np.array_equal(np.delete(one.channel_scores, FOREIGN, axis=1), np.delete(other.channel_scores, FOREIGN, axis=1))
    same = [name for name in NAMES if name != "structure"]
    for rows in zip(one.evaluations.rows.T, other.evaluations.rows.T, NAMES, strict=True):
        assert rows[2] not in same or np.array_equal(rows[0], rows[1], equal_nan=True), rows[2]


def test_models_are_fitted_apart() -> None:
    """Two models in one log get a baseline each; one of them alone gets the same."""
    both = lines(12, 12, "a") + lines(12, 12, "b", dimension=3)
    found = fit_baseline(lambda: batches(both), EngineSettings())
    alone = fit_baseline(lambda: batches(lines(12, 12, "b", dimension=3)), EngineSettings())
    assert {model: entry.reference.dimension for model, entry in found.models.items()} == {"a": 5, "b": 3}
    assert found.models["b"].reference.fingerprint == alone.models["b"].reference.fingerprint


def test_one_odd_record_does_not_decide_how_long_inputs_are() -> None:
    """The first record of a log has one number too many; the baseline is of what most clients send."""
    rng = np.random.default_rng(5)
    events = Events("m")
    lines = [events.line("odd", rng.random(7), 0)]
    lines += [events.line(f"c{i % 12}", rng.random(6), int(rng.integers(2))) for i in range(400)]
    assert fit_baseline(lambda: batches(lines), EngineSettings()).models["m"].reference.dimension == 6


def test_missing_values_of_a_table_are_values_of_their_own() -> None:
    """They lie apart from all others and are learned like them; a picture with one is left out."""
    rng = np.random.default_rng(6)
    events = Events("m")
    lines = []
    for i in range(600):
        x = rng.random(6)
        x[2] = np.nan if rng.random() < 0.3 else x[2]
        lines.append(events.line(f"c{i % 12}", x, int(rng.integers(2))).replace(b"NaN", b"null"))
    reference = fit_baseline(lambda: batches(lines), EngineSettings()).models["m"].reference
    assert reference.missing[2] < 0 < reference.missing[2] + 1
    wide = Events("wide")
    pictures = [wide.line(f"c{i % 12}", rng.random(60), 0) for i in range(400)]
    pictures += [wide.line("c0", np.append(rng.random(59), np.nan), 0).replace(b"NaN", b"null") for _ in range(40)]
    assert not fit_baseline(lambda: batches(pictures), EngineSettings()).models["wide"].reference.table


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (list[bytes], "no valid event"),
        (lambda: lines(7, 20), "7 clients have 8 queries or more, at least 8"),
        (lambda: lines(20, 7), "0 clients have 8 queries or more"),
        (lambda: lines(3, 10), "too few to learn"),
    ],
)
def test_what_cannot_say_what_is_usual_is_refused(log: Callable[[], list[bytes]], message: str) -> None:
    """An empty log, and too few or too short clients: the error says what is missing."""
    with pytest.raises(BaselineError, match=message):
        fit_baseline(lambda: batches(log()), EngineSettings())


def test_clients_set_aside_give_no_reference_inputs() -> None:
    """The odometer judges copies by inputs of clients that raised no doubt, few of each."""
    events = [json.loads(line) for line in traffic(seed=1, innocents=32, thieves=1, queries=60)]
    for event in events:
        if event["client"]["id"] == "thief-0":
            event["output"]["label"] = 77
    lines = [json.dumps(event).encode() for event in events]
    fitted = fit_baseline(lambda: batches(lines), EngineSettings(seed=5))
    (model,) = fitted.models
    assert "thief-0" in {entry["client"] for entry in fitted.notes[model]["set_aside"]}
    judge = fitted.models[model].reference_set
    assert judge is not None
    assert set(judge.label.tolist()) == {label_code(0), label_code(1)}
    assert len(judge.label) == fitted.notes[model]["reference_inputs"] == 1024

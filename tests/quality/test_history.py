from pathlib import Path

import numpy as np
import pytest

from tests.quality.history import Knowledge, Past, learn, past_logs, playable, profile_of
from tests.quality.simulation import simulated

SIMULATION = simulated("breast_cancer", "mlp", 1)
PAST = Past(teaching=2, queries=140, lesson=300)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Knowledge]:
    """Return the folder and what was learned with one profile left out."""
    folder = tmp_path_factory.mktemp("learned")
    return folder, learn(SIMULATION, PAST, folder, "tab_sliders")


def test_teachers_and_calibration_clients_are_different_clients_with_different_examples() -> None:
    """The first third of the clients, which teaches the reference, holds the one pool; the others, later, another."""
    before, later = past_logs(SIMULATION, PAST)
    assert not set(before.sessions) & set(later.sessions)
    assert (
        2 * len(before.sessions)
        == len(later.sessions)
        == PAST.clients(len(playable(SIMULATION)))[1] * len(playable(SIMULATION))
    )
    assert max(batch.time.max() for batch in before.batches) < min(batch.time.min() for batch in later.batches)
    asked = [session.vectors for client, session in before.sessions.items() if profile_of(client) == "tab_steady"]
    pool = SIMULATION.teaching.encode(SIMULATION.teaching.benign.vectors).round(4)
    assert {row.tobytes() for row in np.concatenate(asked).round(4)} <= {row.tobytes() for row in pool}


def test_nobody_has_seen_a_profile_left_out(learned: tuple[Path, Knowledge]) -> None:
    """Neither our baseline nor the published detectors were given its clients."""
    folder, known = learned
    notes = known.baseline.notes["breast_cancer-mlp"]
    others = len(playable(SIMULATION)) - 1
    teaching, calibrating = PAST.clients(len(playable(SIMULATION)))
    assert (notes["teaching_clients"], notes["calibration_clients"]) == (others * teaching, others * calibrating)
    assert not any("tab_sliders" in client for client in notes["clients_with_most_evidence"])
    with np.load(folder / "breast_cancer-mlp-tab_sliders" / "lesson.npz") as stored:
        taught = {row.tobytes() for row in stored["vectors"]}
    before, _ = past_logs(SIMULATION, PAST)
    sliders = np.concatenate([s.vectors for client, s in before.sessions.items() if profile_of(client) == "tab_sliders"])
    shared = np.concatenate([s.vectors for client, s in before.sessions.items() if profile_of(client) != "tab_sliders"])
    own = {row.tobytes() for row in sliders} - {row.tobytes() for row in shared}
    assert len(taught) > 100
    assert own
    assert not taught & own


def test_what_was_learned_is_read_again(learned: tuple[Path, Knowledge]) -> None:
    """From the folder come the same baseline, thresholds and published detectors."""
    folder, known = learned
    again = learn(SIMULATION, PAST, folder, "tab_sliders")
    assert again.baseline.version == known.baseline.version
    assert again.thresholds == known.thresholds
    assert {name: detector.threshold for name, detector in again.published.items()} == {
        name: detector.threshold for name, detector in known.published.items()
    }


def test_learning_again_gives_the_same(learned: tuple[Path, Knowledge], tmp_path: Path) -> None:
    """The past is played and learned from anew to the same end."""
    _, known = learned
    past_logs.cache_clear()
    again = learn(SIMULATION, PAST, tmp_path, "tab_sliders")
    assert again.baseline.version == known.baseline.version
    assert again.thresholds == known.thresholds


def test_profiles_about_codes_need_codes() -> None:
    """A table of measurements has no categories to mistype; loans have."""
    assert "tab_category_noise" not in playable(SIMULATION)
    assert "tab_category_noise" in playable(simulated("loans", "forest", 1))
    assert playable(SIMULATION, "frozen")

"""The pure function: labels stay, probabilities stay probabilities, and nobody learns more by asking again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from detector.perturb.modes import ART_NAMES, How, is_distribution, mode_of, perturb

KEY = b"0123456789abcdef" * 2
HOWS = [How("top1"), How("label"), How("mislead", secret=KEY), How("top1", decimals=0), How("top1", decimals=2)]
HONEST = [how for how in HOWS if how.mode != "mislead"]

_weights = st.lists(st.floats(0.0, 1.0, width=32), min_size=2, max_size=40).filter(lambda values: sum(values) > 1e-3)
distributions = _weights.map(lambda values: [value / sum(values) for value in values])


@pytest.mark.parametrize("how", HOWS, ids=lambda how: f"{how.mode}{how.decimals}")
@given(distributions, st.text(max_size=5))
def test_what_is_told_is_a_distribution(how: How, answer: list[float], model: str) -> None:
    """Probabilities of the same classes, that sum to 1."""
    told = perturb(answer, how, model)
    assert is_distribution(told)
    assert len(told) == len(answer)
    assert abs(sum(told) - 1.0) < 1e-6


@pytest.mark.parametrize("how", HONEST, ids=lambda how: f"{how.mode}{how.decimals}")
@given(distributions)
def test_the_label_stays(how: How, answer: list[float]) -> None:
    """The largest is the largest still, strictly."""
    told = perturb(answer, how)
    label = answer.index(max(answer))
    assert all(value < told[label] for at, value in enumerate(told) if at != label)


@given(distributions)
def test_it_is_pure(answer: list[float]) -> None:
    """The same answer is told the same, whoever asks and how often; the argument is not changed."""
    before = list(answer)
    for how in HOWS:
        assert perturb(answer, how, "m") == perturb(tuple(answer), how, "m")
    assert answer == before


def _points(rng: np.random.Generator, count: int) -> np.ndarray:
    scores = rng.normal(0.0, 2.0, (count, 10))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _error(answers: np.ndarray, told: np.ndarray) -> float:
    return float(np.abs(answers - told).sum(axis=1).mean())


@pytest.mark.parametrize("how", [How("top1"), How("label"), How("mislead", secret=KEY)], ids=lambda how: how.mode)
@pytest.mark.parametrize("trick", ["repeats", "accounts", "jitter"])
def test_averaging_gains_a_thief_nothing(how: How, trick: str) -> None:
    """The mean of 100 answers is no closer to the model's than one is: repeated, from 100 accounts, or moved by 1e-6.

    An account is nothing that the function could know; the model's answer is all that it is given.
    """
    rng = np.random.default_rng(1)
    answers = _points(rng, 200)
    once = np.array([perturb(row, how, "m") for row in answers.tolist()])
    mean = np.zeros_like(answers)
    for _ in range(100):
        asked = answers
        if trick == "jitter":
            asked = np.clip(answers + rng.normal(0.0, 1e-6, answers.shape), 0.0, 1.0)
            asked = asked / asked.sum(axis=1, keepdims=True)
        mean += [perturb(row, how, "m") for row in asked.tolist()]
    assert _error(answers, mean / 100) >= 0.99 * _error(answers, once)


def test_half_of_the_coarse_answers_mislead() -> None:
    """Another key misleads others, and so does another model's name; without the key nobody knows whom."""
    answers = _points(np.random.default_rng(2), 2000)
    labels = answers.argmax(axis=1)

    def wrong(secret: bytes, model: str) -> np.ndarray:
        how = How("mislead", secret=secret)
        return np.asarray(np.array([perturb(row, how, model) for row in answers.tolist()]).argmax(axis=1) != labels)

    first, second, third = wrong(KEY, "a"), wrong(KEY, "b"), wrong(KEY[::-1], "a")
    for one in (first, second, third):
        assert 0.4 < one.mean() < 0.6
    assert 0.4 < (first != second).mean() < 0.6
    assert 0.4 < (first != third).mean() < 0.6


def test_misleading_is_opted_in_for() -> None:
    """It needs a key of a decent length; the log names the key without giving it away."""
    for secret in (None, b"short"):
        with pytest.raises(ConfigError, match="key"):
            How("mislead", secret=secret)
    key_id = How("mislead", secret=KEY).key_id
    assert key_id is not None
    assert len(key_id) == 12
    assert How("top1", secret=KEY).key_id is None


def test_names_of_the_toolbox_are_understood() -> None:
    """Each leads to a mode, with the reason why it is not what it was."""
    for name in ART_NAMES:
        mode, warning = mode_of(name)
        assert mode in {"top1", "label"}
        assert warning
    assert mode_of("top1") == ("top1", None)
    with pytest.raises(ConfigError, match="reverse_sigmoid"):
        mode_of("noise")


@pytest.mark.parametrize(
    "values", [[1.0], [0.5, 0.6], [-0.1, 1.1], [float("nan"), 1.0], ["0.5", 0.5], [True, False], [2.3, -1.3], []]
)
def test_other_numbers_are_no_distribution(values: list[object]) -> None:
    """Logits, shares that overlap, single numbers: they are not perturbed as if they were probabilities."""
    assert not is_distribution(values)

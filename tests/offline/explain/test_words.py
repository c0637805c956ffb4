"""Words: there are some for everything measured, and ids are safe to show."""

from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.names import printable
from detector.offline.explain.words import FEATURES, LOOKALIKES, MEANINGS
from detector.offline.trace import NOVELTY


def test_everything_measured_has_words() -> None:
    """Each channel has a meaning and its innocent doubles, each feature a line."""
    assert set(MEANINGS) == set(LOOKALIKES) == {*CHANNELS, NOVELTY}
    assert tuple(FEATURES) == NAMES


@given(st.text(max_size=80), st.integers(5, 60))
def test_printable_text_is_printable_and_short(text: str, most: int) -> None:
    """Whatever a client calls itself."""
    assert printable(text, most).isprintable()
    assert len(printable(text, most)) <= most

"""Words: there are some for every feature, and ids are safe to show."""

from hypothesis import given
from hypothesis import strategies as st

from detector.engine.features.row import NAMES
from detector.names import printable
from detector.offline.explain.words import FEATURES


def test_every_feature_has_words() -> None:
    """Each feature has a line."""
    assert tuple(FEATURES) == NAMES


@given(st.text(max_size=80), st.integers(5, 60))
def test_printable_text_is_printable_and_short(text: str, most: int) -> None:
    """Whatever a client calls itself."""
    assert printable(text, most).isprintable()
    assert len(printable(text, most)) <= most

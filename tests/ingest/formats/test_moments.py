"""Times are remembered by the second, and not without end."""

import pytest

from detector.contracts.moment import event_ms
from detector.ingest.formats.moments import Moments


def test_what_is_remembered_does_not_grow_with_the_log() -> None:
    """Its caches are bounded."""
    moments = Moments(None)
    for second in range(40_000):
        for fraction in ("", ".25", ".250"):
            day, rest = divmod(second, 86_400)
            moments.of(f"2026-05-{day + 1:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{fraction}Z")
    assert max(len(moments._seconds), len(moments._whole_seconds)) <= 1 << 14


@pytest.mark.parametrize("fraction", ["", ".4", ".412", ".412000123", ".41200"])
@pytest.mark.parametrize("offset", ["Z", "+02:00", "-00:30"])
def test_they_are_those_of_the_reference(fraction: str, offset: str) -> None:
    """Read for the first time, and read again."""
    moments = Moments(None)
    for second in ("07", "08", "07"):
        text = f"2026-05-04T10:31:{second}{fraction}{offset}"
        assert moments.of(text) == moments.of(text) == event_ms(text)

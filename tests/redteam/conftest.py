import pytest

from detector.redteam.victim import Victim, digits_victim


@pytest.fixture(scope="session")
def victim() -> Victim:
    """Train one model for all clients to ask."""
    return digits_victim(7)

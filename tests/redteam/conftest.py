import pytest

from detector.redteam.loans import Lender, lender
from detector.redteam.victim import Victim, digits_victim


@pytest.fixture(scope="session")
def victim() -> Victim:
    """Train one model for all clients to ask."""
    return digits_victim(7)


@pytest.fixture(scope="session")
def applied() -> Lender:
    """Train one model of records for all clients to ask."""
    return lender(7)

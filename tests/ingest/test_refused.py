"""Refused queries count for their clients, at a time that is possible."""

import numpy as np
import pytest

from detector.ingest.batch import Batch, Sender
from detector.ingest.owner import Owner
from detector.ingest.refused import RefusedQueries, Unusable
from detector.testing import START_MS, Events, batches

LATEST_MS = START_MS + 10_000


def _events(*times: int) -> list[Batch]:
    events = Events("alpha")
    return batches([events.line("acme", [0.0], 1, time=START_MS + time) for time in times])


@pytest.mark.parametrize("last", [[], [Unusable(2, "schema", b"{")]], ids=["none refused", "one refused"])
def test_a_query_without_a_time_gets_that_of_the_event_before(last: list[Unusable]) -> None:
    """Also of one that came in an earlier stretch of the stream, whether or not anything was refused there."""
    owner = Owner("acme", "alpha", None, "", 0, Sender())
    refused = RefusedQueries(0)
    refused.batches(last, [None] * len(last), _events(1000, 3000), LATEST_MS)
    refused.batches([], [], [], LATEST_MS)
    (found,) = refused.batches([Unusable(7, "schema", b"{}")], [owner], [], LATEST_MS)
    assert found.time.tolist() == [START_MS + 3000]


def test_the_last_event_of_several_batches_is_that_of_the_stream() -> None:
    """Whichever batch it is in."""
    owner = Owner("acme", "alpha", None, "", 0, Sender())
    refused = RefusedQueries(0)
    (one,) = _events(5000, 6000, 9000)
    refused.batches([], [], [one.take(np.array([0, 2])), one.take(np.array([1]))], LATEST_MS)
    (found,) = refused.batches([Unusable(7, "schema", b"{}")], [owner], [], LATEST_MS)
    assert found.time.tolist() == [START_MS + 9000]

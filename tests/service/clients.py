"""Which of the two Kafka clients a test of the service works with.

Each fault is shown once in every run, on the client that is named; `make test-faults` shows all of them on both.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

CLIENTS = ("confluent", "kafka-python")
BOTH = os.environ.get("DETECTOR_TEST_CLIENTS") == "both"

T = TypeVar("T", bound=Callable[..., Any])


def on(client: str) -> Callable[[T], T]:
    """Return a decorator that runs a test on a client, or on both where all of them are asked for."""
    assert client in CLIENTS
    mark: Callable[[T], T] = pytest.mark.parametrize("client", CLIENTS if BOTH else [client])
    return mark


def on_both() -> Callable[[T], T]:
    """Return a decorator that runs a test on both clients in every run: for quick ones."""
    mark: Callable[[T], T] = pytest.mark.parametrize("client", CLIENTS)
    return mark

"""Which Kafka client a test of the service works with: one of the two, or both at once, as is the default of the configuration.

Each fault is shown once in every run, on what is named; `make test-faults` shows all of them on everything.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

CLIENTS = ("confluent", "kafka-python")
WAYS = (*CLIENTS, "auto")
ALL = os.environ.get("DETECTOR_TEST_CLIENTS") == "all"

T = TypeVar("T", bound=Callable[..., Any])


def on(way: str) -> Callable[[T], T]:
    """Return a decorator that runs a test with one `[kafka] client`, or with each where all of them are asked for."""
    assert way in WAYS
    mark: Callable[[T], T] = pytest.mark.parametrize("client", WAYS if ALL else [way])
    return mark


def on_both() -> Callable[[T], T]:
    """Return a decorator that runs a test on both clients in every run: for quick ones."""
    mark: Callable[[T], T] = pytest.mark.parametrize("client", WAYS if ALL else CLIENTS)
    return mark

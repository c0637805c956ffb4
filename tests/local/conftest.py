"""Brokers for the tests of brokers: skipped where none can be had, failed with CI=true."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from detector.errors import ServerError
from detector.local.kafka import LocalBroker, java_command


@pytest.fixture(scope="session")
def kafka_can_run(pytestconfig: pytest.Config) -> None:
    """Fetch what a broker needs, saying so on the terminal; where that is impossible skip, or with CI=true fail."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    try:
        java_command(reporter.write_line if reporter else print)
    except ServerError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture
def local_broker(kafka_can_run: None) -> Iterator[Callable[..., LocalBroker]]:  # noqa: ARG001
    """Return a starter of brokers, which takes what `LocalBroker` takes; all are closed after the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(LocalBroker(**options))

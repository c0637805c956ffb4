"""A real Apache Kafka on this machine: one broker, started in seconds, without root and without containers.

    python -m tests.servers.kafka up          start one that stays, with its data in the cache folder
    python -m tests.servers.kafka status
    python -m tests.servers.kafka down        --delete removes its data, too

In Python, for tests and examples::

    with LocalBroker() as broker:
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)

Topics are not created by being used: a forgotten or misspelt one is an error here, as it is on most clusters that are cared
for.
"""

import sys
from collections.abc import Sequence

from tests.servers.broker import LocalBroker
from tests.servers.cache import cache_folder
from tests.servers.command import Command
from tests.servers.kafka_program import VERSION, java_command

__all__ = ["VERSION", "LocalBroker", "java_command", "main"]

_COMMAND = Command(
    module="tests.servers.kafka",
    description="A Kafka broker on this machine.",
    name="Kafka",
    version=VERSION,
    make="kafka",
    usual_port=9092,
    folder=lambda: cache_folder("kafka"),
    kind=LocalBroker,
    address="bootstrap",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    return _COMMAND.main(arguments)


if __name__ == "__main__":
    sys.exit(main())

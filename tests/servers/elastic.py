"""A real Elasticsearch on this machine: one node, started in seconds, without containers.

    python -m tests.servers.elastic up          start one that stays, with its data in the cache folder
    python -m tests.servers.elastic status
    python -m tests.servers.elastic down        --delete removes its data, too

In Python, for tests and examples::

    with LocalElastic() as node:
        client = Elasticsearch(node.url)

It is the minimal distribution: good for indexing, mappings and searches, without Kibana. Without users it has neither TLS nor
login, and listens on 127.0.0.1 only.
"""

import sys
from collections.abc import Sequence
from typing import Any

from tests.servers.command import Command
from tests.servers.elastic_node import LocalElastic
from tests.servers.elastic_program import VERSION, find_jdk, program, shared_folder
from tests.servers.elastic_settings import User

__all__ = ["VERSION", "LocalElastic", "User", "main", "prepare"]

_COMMAND = Command(
    module="tests.servers.elastic",
    description="An Elasticsearch on this machine.",
    name="Elasticsearch",
    version=VERSION,
    make="elastic",
    usual_port=9200,
    folder=lambda: shared_folder("elasticsearch"),
    kind=LocalElastic,
    address="url",
)


def prepare(tell: Any = print) -> None:
    """Fetch what a node needs. Raises `ServerError`, which says what to install, where it cannot run on this machine."""
    find_jdk()
    program(tell)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    return _COMMAND.main(arguments)


if __name__ == "__main__":
    sys.exit(main())

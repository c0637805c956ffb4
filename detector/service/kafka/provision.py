"""Creating and checking the topics, for the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics, check, create, partitions_of

USUAL_COPIES = 3


@dataclass(frozen=True, slots=True)
class SetUp:
    """The names of created topics, and the number of partitions of the queries."""

    created: tuple[str, ...]
    partitions: int


def set_up(connection: Connection, topics: Topics, inputs: Sequence[str], partitions: int, replication: int | None) -> SetUp:
    """Create the missing ones of `topics` and `inputs`, then check all.

    Where one of queries and state exists, the other gets the same number of partitions. `replication` None means three copies,
    or one per broker where there are fewer brokers.

    Raises `ServiceError` when the broker refuses, or what exists does not fit.
    """
    admin = connection.admin()
    try:
        copies = replication or min(USUAL_COPIES, len(admin.describe_cluster()["brokers"]))
        pair = partitions_of(admin, [topics.queries, topics.state])
        created = create(admin, topics, partitions=next(iter(pair.values()), partitions), replication=copies)
        existing = set(admin.list_topics())
        missing = [name for name in dict.fromkeys(inputs) if name not in existing]
        if missing:
            admin.create_topics(
                {name: {"num_partitions": partitions, "replication_factor": copies} for name in missing}, wait_for_metadata=True
            )
        return SetUp((*created, *missing), check(admin, topics))
    except KafkaError as error:
        raise connection.failure(error, "the topics cannot be created") from error
    finally:
        admin.close()


def check_all(connection: Connection, topics: Topics, inputs: Sequence[str]) -> int:
    """Check the service's topics and that the input topics exist; return the number of partitions of the queries.

    Raises `ServiceError` with one line per fault and how to fix it.
    """
    admin = connection.admin()
    try:
        faults = []
        count = 0
        try:
            count = check(admin, topics)
        except ServiceError as error:
            faults.append(str(error))
        faults += absent(admin, inputs)
    except KafkaError as error:
        raise connection.failure(error, "the topics cannot be checked") from error
    finally:
        admin.close()
    if faults:
        raise ServiceError("\n".join(faults))
    return count


def absent(admin: KafkaAdminClient, inputs: Sequence[str]) -> list[str]:
    """Return an error message for each input topic that does not exist."""
    found = partitions_of(admin, list(inputs))
    return [
        f"input topic {name!r} does not exist: check its spelling against the serving stack's configuration"
        for name in inputs
        if name not in found
    ]

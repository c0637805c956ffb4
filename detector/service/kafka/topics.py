"""The topics of the service: names, required settings, and a check of existing topics."""

from collections.abc import Sequence
from dataclasses import dataclass

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import InvalidTopicError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from detector.errors import ServiceError

LARGEST_RECORD = 16 * 1024 * 1024  # bytes; the state of a model that is being learned holds hundreds of inputs
DAY_MS = 86_400_000
AUDIT_DAYS = 400  # a year and some, so that last year's decisions can still be explained
ABSENT = {UnknownTopicOrPartitionError.errno, InvalidTopicError.errno}


@dataclass(frozen=True, slots=True)
class Topics:
    """The topic names, all with one prefix."""

    queries: str
    state: str
    alerts: str
    decisions: str
    dead_letters: str
    audit: str
    sketches: str
    links: str

    @classmethod
    def under(cls, prefix: str) -> "Topics":
        """Return the names under `prefix`.

        >>> Topics.under("detector.").dead_letters
        'detector.dead-letters'
        """
        names = ("queries", "state", "alerts", "decisions", "dead-letters", "audit", "sketches", "links")
        return cls(*(prefix + name for name in names))

    def policies(self) -> dict[str, dict[str, str]]:
        """Return the settings that each topic of the service needs, by name; `audit` is not among them, it does without."""
        large = {"max.message.bytes": str(LARGEST_RECORD)}
        return {
            self.queries: {"cleanup.policy": "delete", "retention.ms": str(3 * DAY_MS), **large},
            self.state: {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", **large},
            self.alerts: {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)},
            self.decisions: {"cleanup.policy": "compact"},
            self.sketches: {"cleanup.policy": "delete", "retention.ms": str(3 * DAY_MS), **large},
            self.links: {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", **large},
            self.dead_letters: {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS), **large},
        }

    def created(self) -> dict[str, dict[str, str]]:
        """Return the settings of all topics that `detector topics create` makes: the trail of manual decisions as well."""
        return {**self.policies(), self.audit: {"cleanup.policy": "delete", "retention.ms": str(AUDIT_DAYS * DAY_MS)}}


def create(admin: KafkaAdminClient, topics: Topics, *, partitions: int, replication: int) -> list[str]:
    """Create the topics that are missing and return their names; existing ones are left as they are.

    `queries` and `state` get the same number of partitions: a partition's state is in the state partition of that number. So do
    `sketches` and `links`.
    """
    existing = set(admin.list_topics())
    missing = [name for name in topics.created() if name not in existing]
    if missing:
        admin.create_topics(
            [
                NewTopic(name=name, num_partitions=partitions, replication_factor=replication, topic_configs=settings)
                for name, settings in topics.created().items()
                if name in missing
            ],
            wait_for_metadata=True,
        )
    return missing


def partitions_of(admin: KafkaAdminClient, names: list[str]) -> dict[str, int]:
    """Return how many partitions each of the topics has; those that do not exist are left out.

    Raises the client's `TopicAuthorizationFailedError` for topics that we may not describe, whether they exist or not.
    """
    described = admin.describe_topics(names) if names else []
    denied = {topic["name"] for topic in described if topic["error_code"] == TopicAuthorizationFailedError.errno}
    if denied:
        raise TopicAuthorizationFailedError(denied)
    return {topic["name"]: len(topic["partitions"]) for topic in described if topic["error_code"] not in ABSENT}


def check(admin: KafkaAdminClient, topics: Topics, *, inputs: Sequence[str] = (), keyed: bool = False) -> int:
    """Check that the topics exist and fit; return the number of state partitions, over which clients are spread.

    The queries topic may have more partitions; those stay empty, since added partitions move no client. Where detection reads a
    log that is keyed by client elsewhere, added partitions move clients away from their state, so that is refused.

    `inputs` are prediction logs that must exist, too; `keyed` says that detection reads them directly, instead of `queries`.
    Raises `ServiceError` with one line per fault and how to fix it.
    """
    found = partitions_of(admin, [*topics.policies(), *inputs])
    faults = [
        f"topic {name!r} does not exist: create it with `detector topics create`"
        for name in topics.policies()
        if name not in found
    ]
    faults += [
        f"input topic {name!r} does not exist: check [kafka] input_topics, or create it" for name in inputs if name not in found
    ]
    if keyed and len(inputs) != 1:
        faults.append(
            f"[kafka] keyed takes one input topic, since state is stored by partition number; there are {len(inputs)}"
        )
    source = inputs[0] if keyed and len(inputs) == 1 else topics.queries
    if not faults and keyed and found[source] > found[topics.state]:
        faults.append(grown(source, topics.state, found[topics.state]))
    elif not faults and found[source] < found[topics.state]:
        faults.append(
            f"topic {topics.state!r} has {found[topics.state]} partitions and {source!r} has only {found[source]}: each "
            "partition's state is in the partition of the same number. If no state was saved, add partitions; otherwise use "
            "another [kafka] prefix and group_id, with the same number of partitions in both topics"
        )
    elif not faults and found[topics.sketches] < found[topics.links]:
        faults.append(
            f"topic {topics.links!r} has {found[topics.links]} partitions and {topics.sketches!r} has only "
            f"{found[topics.sketches]}: add partitions to {topics.sketches!r}, since the state of each is in the partition of "
            "the same number"
        )
    if not faults:
        compacted = (topics.state, topics.links, topics.decisions)
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in compacted]
        described = admin.describe_configs(resources, config_filter="all")["topic"]
        for name in compacted:
            policy = described[name]["cleanup.policy"]["value"]
            if "compact" not in policy:
                faults.append(f"topic {name!r} has cleanup.policy={policy}, it must be compact, or its records expire")
    if faults:
        raise ServiceError("\n".join(faults))
    return found[topics.state]


def grown(source: str, state: str, partitions: int) -> str:
    """Return the error message for a log keyed by client that has more partitions than the state."""
    return (
        f"topic {source!r} has more partitions than {state!r}, which has {partitions}: client state is stored by "
        "partition number, so most clients would not be found. Use another [kafka] prefix and group_id, with topics of the new "
        "number of partitions; its state begins empty"
    )

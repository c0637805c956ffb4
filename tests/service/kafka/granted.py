"""A user of a broker with ACLs who is granted rights one by one, for tests of what each stage needs."""

import contextlib
import time
import uuid
from typing import Any

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType
from pydantic import SecretStr

from detector.config import Config, KafkaSection
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from tests.servers.kafka import LocalBroker

SPREAD_S = 2.0  # the controller has taken a grant before the broker acts on it


class World:
    """The service's topics, and a user who is granted rights one by one."""

    def __init__(self, broker: LocalBroker) -> None:
        name = uuid.uuid4().hex[:8]
        self.log = f"log-{name}"
        self.user = "detector"
        settings: dict[str, Any] = {"input_topics": (self.log,), "prefix": f"{name}.", "group_id": f"group-{name}"}
        self.free = KafkaSection(**settings, bootstrap_servers=(broker.bootstrap,))
        self.section = KafkaSection(
            **settings,
            bootstrap_servers=(broker.secure_bootstrap,),
            security_protocol="SASL_SSL",
            username=self.user,
            password=SecretStr("right"),
            ca_file=broker.ca_file,
            checkpoint_seconds=0.2,
            dead_letter_ratio=1.0,
        )
        self.config = Config(kafka=self.section)
        self.topics = Topics.under(self.section.prefix)
        set_up(Connection(self.free), self.topics, [self.log], 2, 1)

    def grant(self, kind: ResourceType, name: str, *operations: ACLOperation) -> None:
        """Allow operations on everything whose name begins with `name`."""
        pattern = ResourcePattern(kind, name, ACLResourcePatternType.PREFIXED)
        with contextlib.closing(Connection(self.free).admin()) as admin:
            admin.create_acls([ACL(f"User:{self.user}", "*", what, ACLPermissionType.ALLOW, pattern) for what in operations])
        time.sleep(SPREAD_S)

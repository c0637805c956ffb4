"""The whole loop on this machine: gateway, model, Kafka, the service, the gate and the proxy, and back to the gateway."""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.config import KafkaSection
from detector.contracts import Alert, Decision
from detector.errors import ServiceError
from detector.redteam import cast
from detector.redteam.victim import Victim
from detector.service.kafka.connection import Connection
from detector.service.kafka.provision import set_up
from detector.service.kafka.topics import Topics
from tests.servers.gate import LocalGate
from tests.servers.gateways.gateway import LocalGateway
from tests.servers.kafka import LocalBroker
from tests.servers.loop.model import ServedModel
from tests.servers.loop.outcome import Seen
from tests.servers.own import LocalDetector, LocalPerturb
from tests.servers.process import last_words
from tests.servers.processed import PATIENCE_S, until_processed, values
from tests.servers.server import nothing

__all__ = ["PATH", "Loop", "closed_loop"]

PATH = f"/v1/models/{cast.MODEL}:predict"
TOPIC = "prediction-log"
PARTITIONS = 3
COMPILING_S = 1_200.0  # the first start of a version, on a busy machine


@dataclass(frozen=True, slots=True)
class Loop:
    """What runs: `gateways` are those without and with a ceiling for everybody."""

    model: ServedModel
    gateways: tuple[LocalGateway, ...]
    kafka: KafkaSection
    service: LocalDetector

    def finish(self) -> Seen:
        """Wait until all that was logged is processed, and return what there is to see. Raises `ServiceError`."""
        self.settle()
        topics = Topics.under(self.kafka.prefix)
        decisions = [Decision.model_validate_json(value) for value in values(self.kafka, topics.decisions)]
        alerts = [Alert.model_validate_json(value) for value in values(self.kafka, topics.alerts)]
        return Seen(decisions, alerts, self.model.answered)

    def settle(self) -> None:
        """Wait until all that was logged is processed. Raises `ServiceError`."""
        if not until_processed(self.kafka, TOPIC, lambda: self.service.process_id is not None):
            said = last_words(self.service.log_file.read_bytes())
            raise ServiceError(f"the service has ended, or has not processed its log within {PATIENCE_S:g} s:\n{said}")


@contextmanager
def closed_loop(
    folder: Path,
    served: Victim,
    clients: Sequence[str],
    kind: type[LocalGateway],
    ceilings: Sequence[float | None],
    say: Callable[[str], None] = nothing,
) -> Iterator[Loop]:
    """Start everything, with a gate and a gateway of `kind` for each ceiling (requests a second); end it with the block.

    `folder` holds the configuration and the baseline that `detector demo` made. The gateways know `clients` by their keys,
    ``key-of-NAME``. Raises `ServerError` where a program cannot be had or does not start.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(LocalBroker(tell=say))
        settings = {"bootstrap_servers": broker.bootstrap, "input_topics": TOPIC, "checkpoint_seconds": 1.0}
        kafka = KafkaSection.model_validate(settings)
        set_up(Connection(kafka), Topics.under(kafka.prefix), [TOPIC], PARTITIONS, None)
        say(f"Kafka listens on {broker.bootstrap}; starting the service: detector run")
        service = stack.enter_context(LocalDetector({**_sections(folder), "kafka": settings}))
        model = stack.enter_context(ServedModel(cast.MODEL, served.predict, kafka, TOPIC))
        perturbed = stack.enter_context(LocalPerturb(model.port))
        say(f"the model answers on port {model.port}, detector perturb proxy before it on {perturbed.port}")
        gateways = []
        for ceiling in ceilings:
            limits = {} if ceiling is None else {"requests_per_second": ceiling}
            gate = stack.enter_context(LocalGate(limits, {"bootstrap_servers": broker.bootstrap}))
            gate.wait_until_ready()
            made = kind(gate=gate.port, model=model.port, perturbed=perturbed.port, clients=clients)
            gateway = stack.enter_context(made)
            told = "no ceiling" if ceiling is None else f"a ceiling of {ceiling:g} requests a second for each client"
            say(f"{gateway.NAME} answers callers on port {gateway.port} and asks detector gate on {gate.port}, with {told}")
            gateways.append(gateway)
        say("waiting for the service (it compiles once for each version, for some minutes)")
        service.wait_until_ready(COMPILING_S)
        model.answer("the-first", [served.benign.vectors[0].tolist()], perturbed=False)
        loop = Loop(model, tuple(gateways), kafka, service)
        loop.settle()
        yield loop


def _sections(folder: Path) -> dict[str, Mapping[str, Any]]:
    sections: dict[str, dict[str, Any]] = tomllib.loads((folder / "detector.toml").read_text(encoding="utf-8"))
    sections["baseline"]["path"] = str((folder / sections["baseline"]["path"]).absolute())
    return {**sections}

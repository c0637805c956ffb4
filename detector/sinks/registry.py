"""The registry: every kind of delivery by its name, and the receivers of a configuration."""

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from detector.config import Config, DeliverySection, DeliveryTable
from detector.config.elasticsearch import DELIVERY
from detector.errors import ConfigError
from detector.sinks import elasticsearch, file, splunk, syslog, webhook
from detector.sinks.receiver import Receiver, SinkKind

KINDS: Final[Mapping[str, SinkKind]] = {
    "elasticsearch": elasticsearch.SINK,
    "file": file.SINK,
    "splunk": splunk.SINK,
    "syslog": syslog.SINK,
    "webhook": webhook.SINK,
}
SECTIONS: Final[Mapping[str, type[DeliverySection]]] = {kind: sink.section for kind, sink in KINDS.items()}
"""The sections by kind, for `detector.config.load`."""


def receiver(table: DeliveryTable) -> Receiver:
    """Build a receiver; nothing is connected yet.

    Raises `ConfigError` when a secret or a certificate cannot be read, or the table is not valid for its kind.

    >>> from detector.sinks.receiver import DeliveryRecord
    >>> from detector.sinks.sample import sample_alert
    >>> settings = {"name": "lines", "kind": "file", "path": "alerts.log", "format": "cef", "min_severity": "critical"}
    >>> quiet = receiver(DeliveryTable.model_validate(settings))
    >>> high, critical = (DeliveryRecord.of(sample_alert(severity=severity)) for severity in ("high", "critical"))
    >>> quiet.message(high), quiet.message(critical).severity
    (None, 'critical')
    """
    kind = KINDS.get(table.kind)
    if kind is None:
        raise ConfigError(f"delivery {table.name!r}: there is no kind {table.kind!r}; known: {', '.join(sorted(KINDS))}")
    try:
        section = table if isinstance(table, kind.section) else kind.section.model_validate(table.given)
    except ValidationError as error:  # pydantic's text repeats the values, secrets included
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigError(f"delivery {table.name!r}: {'; '.join(wrong)}") from None
    try:
        return kind.build(section)
    except ConfigError as error:
        named = section.name == DELIVERY or repr(section.name) in str(error)
        raise error if named else ConfigError(f"delivery {section.name!r}: {error}") from error


def receivers(config: Config) -> list[Receiver]:
    """Build every receiver of a configuration: ``[elasticsearch]`` where it has hosts, and all ``[[deliveries]]``."""
    searched = [elasticsearch.of_table(config.elasticsearch)] if config.elasticsearch.hosts else []
    return [receiver(section) for section in (*searched, *config.deliveries)]

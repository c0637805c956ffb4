"""Which decoder reads which record: the format of its topic, and files that hold records as Kafka had them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from detector.config import Config
from detector.errors import ConfigError
from detector.ingest.formats.decoder import Choosing, Decoder, Outcome, Record, Surroundings
from detector.ingest.formats.dump import Dump
from detector.ingest.formats.encoder import TextEncoder
from detector.ingest.formats.event import Refusal
from detector.ingest.formats.filetimes import FileTimes
from detector.ingest.formats.registry import format_named
from detector.ingest.learning import SchemaLearner
from detector.ingest.owner import Owner
from detector.ingest.schema import InputSchema

__all__ = ["ByTopic", "decoder_for", "decoder_of_files", "encoder_for", "joining_formats", "schemas_for"]

NOBODY: Final = Surroundings()


class ByTopic(Choosing):
    """Hands each record to the decoder of its topic, or to the usual one."""

    def __init__(self, usual: Decoder, of_topic: Mapping[str, Decoder]) -> None:
        """Use `usual` for the topics that `of_topic` does not name."""
        self._usual = usual
        self._of_topic = of_topic

    def _for(self, record: Record) -> Decoder:
        return self._of_topic.get(record.topic, self._usual)

    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Decode by the format of the topic."""
        return self._for(record).decode(record)

    def owner(self, record: Record) -> Owner | None:
        """Read the owner by the format of the topic."""
        return self._for(record).owner(record)

    def time_of(self, record: Record) -> int | None:
        """Read the time by the format of the topic."""
        return self._for(record).time_of(record)

    def decoders(self) -> Collection[Decoder]:
        """Return the usual decoder and those of topics."""
        return (self._usual, *self._of_topic.values())

    def explain(self, record: Record) -> Refusal | None:
        """Explain by the format of the topic."""
        return self._for(record).explain(record)


def joining_formats(config: Config, topics: Collection[str]) -> list[str]:
    """Return the formats of these topics that log a request and its answer as two records; ``auto`` is not told.

    Raises `ConfigError` for a format that does not exist.
    """
    ingest = config.ingest
    names = {ingest.topics[topic].format if topic in ingest.topics else ingest.format for topic in topics}
    return sorted(name for name in names if format_named(name).joins)


def schemas_for(config: Config, learned: Mapping[str, InputSchema] | None = None) -> dict[str, InputSchema]:
    """Return the columns of each model: those that are configured, with the categories that the baseline has `learned`.

    Where the baseline was fitted with other columns than are configured now, its categories are not used.
    """
    schemas = dict(learned or {})
    for model, section in config.models.items():
        if section.columns:
            declared, known = InputSchema.declared(section.columns), schemas.get(model)
            if known is None or not known.same_columns(declared):
                schemas[model] = replace(declared, edges=() if known is None else known.edges)
    return schemas


def encoder_for(config: Config, learned: Mapping[str, InputSchema] | None = None) -> TextEncoder | None:
    """Return the operator's encoder of texts, None without one; `learned` are the schemas of the baseline.

    Raises `ConfigError` where it cannot be used, or is another one than the baseline was fitted with.
    """
    name = config.inputs.encoder
    encoder = None if name is None else TextEncoder.named(name)
    for model, schema in (learned or {}).items():
        if not (schema.encoder or schema.reductions or "text" in schema.kinds):
            continue
        if schema.encoder != name:
            raise ConfigError(
                f"[inputs] encoder is {name or 'not set'}, but the baseline of model {model!r} was fitted with "
                f"{schema.encoder or 'the built-in one'}: set that one, or fit the baseline again"
            )
        if encoder is not None and encoder.dimension != schema.embedded:
            raise ConfigError(
                f"[inputs] encoder {name!r} makes {encoder.dimension} numbers of a text, but the baseline of model {model!r} "
                f"was fitted with {schema.embedded}: use the model of before, or fit the baseline again"
            )
    return encoder


def decoder_for(
    config: Config,
    learned: Mapping[str, InputSchema] | None = None,
    learner: SchemaLearner | None = None,
    watching: Surroundings = NOBODY,
) -> Decoder:
    """Return the decoder of records from Kafka: one for all topics, or one for each that has a format of its own.

    `learned` are the columns that the baseline knows; `learner`, where given, is shown the inputs. `watching` says who else is
    told what the decoders find: of it only `recognized` and `witness` count.

    Raises `ConfigError` for a format that does not exist, and for an encoder of texts that cannot be used.
    """
    ingest = config.ingest
    known = replace(
        watching,
        naive_zone=config.engine.naive_zone,
        ingest=ingest,
        schemas=schemas_for(config, learned),
        learner=learner,
        encoder=encoder_for(config, learned),
        embedding=config.inputs.embedding,
    )
    usual = format_named(ingest.format).build(known)
    others = {topic: section.format for topic, section in ingest.topics.items() if section.format != ingest.format}
    if not others:
        return usual
    return ByTopic(usual, {topic: format_named(name).build(known) for topic, name in others.items()})


def decoder_of_files(
    config: Config,
    learned: Mapping[str, InputSchema] | None = None,
    learner: SchemaLearner | None = None,
    watching: Surroundings = NOBODY,
) -> Decoder:
    """Return the decoder of lines of files, which are records or, where ``[ingest] envelope`` says so, hold them.

    See `decoder_for` for the rest.

    Raises `ConfigError` for a format that does not exist.
    """
    decoder = decoder_for(config, learned, learner, watching)
    envelope = config.ingest.envelope
    if envelope in {"kcat", "auto"}:
        decoder = Dump(decoder, sure=envelope == "kcat")
    return FileTimes(decoder) if config.ingest.missing_time == "file" else decoder

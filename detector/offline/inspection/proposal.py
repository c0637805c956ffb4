"""The configuration to go on with: what a log is seen to need is set, step by step, and each step is tried on its beginning."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from detector.config import Config
from detector.config.detection import ModelSection
from detector.config.ingest import IngestSection
from detector.ingest.formats.auto import AUTO, first_document
from detector.ingest.formats.dump import read_dumped
from detector.offline.inspection.fields import nameable
from detector.offline.inspection.guess import guess
from detector.offline.inspection.sample import Sample
from detector.offline.inspection.survey import Recognition, Survey, survey
from detector.offline.inspection.toml import written

__all__ = ["Proposal", "propose"]

_TRIED: Final = 1000  # records that each step is tried on
_MOST_STEPS: Final = 8
_MOST_COLUMNS: Final = 200
_MOST_MODELS: Final = 20
_MAPPING: Final = "mapping"
_EVERYBODY: Final = "everybody"
_FILE_TIME: Final = "ingest.missing_time"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration, the reasons for its settings by place, whether it is a guess, and what the log lacks for good."""

    config: Config
    notes: Mapping[str, str] = field(default_factory=dict)
    guessed: bool = False
    lacking: tuple[str, ...] = ()

    def toml(self) -> str:
        """Return what it sets, as a file."""
        ingest = self.config.ingest.model_dump(mode="json", exclude_defaults=True)
        zone = self.config.engine.naive_time_zone
        models = {name: section.model_dump(mode="json", exclude_defaults=True) for name, section in self.config.models.items()}
        content: dict[str, Any] = {"ingest": {"format": self.config.ingest.format, **ingest}}
        if zone is not None:
            content["engine"] = {"naive_time_zone": zone}
        content["models"] = {name: section for name, section in models.items() if section}
        return "\n".join(written(content, self.notes)) + "\n"

    def times(self, config: Config) -> "Proposal":
        """Return `config` with what this proposal says of times alone: several logs are merged by them."""
        start = Proposal(config)
        if config.ingest.missing_time != self.config.ingest.missing_time:
            start = start.with_ingest({_FILE_TIME: self.notes[_FILE_TIME]}, missing_time=self.config.ingest.missing_time)
        zone = self.config.engine.naive_time_zone
        return start if zone == config.engine.naive_time_zone or zone is None else start.with_zone(zone)

    def with_zone(self, name: str) -> "Proposal":
        """Return the proposal with a zone of times without an offset."""
        engine = self.config.engine.model_copy(update={"naive_time_zone": name})
        note = "a guess: the times have no offset; name the zone of the server"
        config = self.config.model_copy(update={"engine": engine})
        return replace(self, config=config, notes={**self.notes, "engine.naive_time_zone": note})

    def with_ingest(self, notes: Mapping[str, str], **changes: Any) -> "Proposal":
        """Return the proposal with other settings of ``[ingest]``."""
        known = self.config.ingest.model_dump(exclude_unset=True)
        section = IngestSection.model_validate({**known, **changes})
        return replace(self, config=self.config.model_copy(update={"ingest": section}), notes={**self.notes, **notes})


def propose(sample: Sample, start: Proposal, seen: Recognition) -> Proposal:
    """Return the configuration that reads a sample best; what `start` says already stays.

    Raises `ConfigError` for a format that does not exist.
    """
    proposal = _with_format(start, sample, seen)
    beginning = sample.beginning(_TRIED)
    found = survey(beginning, proposal.config)
    for _ in range(_MOST_STEPS):
        better = next((step for remedy in _REMEDIES if (step := remedy(proposal, found, sample)) is not None), None)
        if better is None:
            break
        proposal, found = better, survey(beginning, better.config)
    return _with_columns(proposal, found, beginning)


def _with_format(proposal: Proposal, sample: Sample, seen: Recognition) -> Proposal:
    if sample.containers and all(sample.wrappers.get(name) == "kcat" for name in sample.containers):
        proposal = proposal.with_ingest({"ingest.envelope": "each line is what `kcat -J` wrote"}, envelope="kcat")
    if proposal.config.ingest.format != AUTO:
        return proposal
    if len(seen.formats) == 1:
        ((name, count),) = seen.formats.items()
        return proposal.with_ingest({"ingest.format": f"{count} of {len(sample)} records: {seen.signs[name]}"}, format=name)
    if seen.formats or not len(sample):
        several = ", ".join(f"{count} {name}" for name, count in seen.formats.most_common())
        return proposal.with_ingest({"ingest.format": several or "nothing was read"}, format=AUTO)
    return _with_mapping(proposal, sample)


def _with_mapping(proposal: Proposal, sample: Sample) -> Proposal:
    found = guess(first_document(read_dumped(record).value) for record in sample.records())
    if found is None:
        return proposal
    notes = {f"ingest.mapping.{key}": reason for key, reason in found.why.items()}
    notes |= {"ingest.format": "no format is recognised", "ingest.mapping": "a guess by names and values: check each line"}
    lacking = tuple(name for name in found.lacking if name in {"input", "answer"})
    return replace(proposal.with_ingest(notes, format=_MAPPING, mapping=found.mapping), guessed=True, lacking=lacking)


def _with_client(proposal: Proposal, found: Survey, sample: Sample) -> Proposal | None:
    """Say where the client stands, if most queries have none; where the log does not say it at all, all are one client."""
    del sample
    rules = [rule.model_dump(exclude_unset=True) for rule in proposal.config.ingest.clients]
    nobody = found.refusals.counts["unidentified"]
    if nobody <= found.events or 2 * nobody <= found.calls or any("constant" in rule for rule in rules):
        return None
    known = {(kind, text) for rule in rules for kind, text in rule.items()}
    place = f"ingest.clients.{len(rules)}"
    for candidate in found.anonymous.candidates():
        if (candidate.kind, candidate.name) not in known:
            many = f"{_several(candidate.values, 'client')} in {_several(candidate.records, 'call')}"
            note = f"{many}; add `trusted = true` where a gateway vouches for it"
            return proposal.with_ingest({place: note}, clients=[*rules, candidate.rule()])
    note = "the log does not say who asked, so that all are one client: log a header that names the client"
    return proposal.with_ingest({place: note}, clients=[*rules, {"constant": _EVERYBODY}])


def _with_zone(proposal: Proposal, found: Survey, sample: Sample) -> Proposal | None:
    """Name a zone, if times have no offset."""
    del sample
    if proposal.config.engine.naive_time_zone is not None or not _said(found, "naive_time_zone"):
        return None
    return proposal.with_zone("UTC")


def _with_missing_time(proposal: Proposal, found: Survey, sample: Sample) -> Proposal | None:
    """Take the time of the file, if records have none."""
    del sample
    if proposal.config.ingest.missing_time == "file" or not _said(found, "missing_time"):
        return None
    note = "records have no time: they get that of their file, and pauses and rates show nothing"
    return proposal.with_ingest({_FILE_TIME: note}, missing_time="file")


def _with_model(proposal: Proposal, found: Survey, sample: Sample) -> Proposal | None:
    """Name the model after the first log, if records do not name one."""
    if proposal.config.ingest.model is not None or not _said(found, "set [ingest] model"):
        return None
    name = re.sub(r"[^\w.-]+", "-", PurePosixPath(sample.logs[0]).name.split(".")[0]).strip("-")[:100]
    return proposal.with_ingest({"ingest.model": "a guess: the log names no model"}, model=name or "model")


_REMEDIES: Final[Sequence[Callable[[Proposal, Survey, Sample], Proposal | None]]] = (
    _with_client,
    _with_zone,
    _with_missing_time,
    _with_model,
)


def _said(found: Survey, words: str) -> bool:
    return any(words in detail for detail in found.details)


def _several(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _with_columns(proposal: Proposal, found: Survey, beginning: Sample) -> Proposal:
    """Declare the columns of models whose inputs have names, if no event is lost by that."""
    named = found.columns.named()
    new = {
        model: columns
        for model, columns in list(named.items())[:_MOST_MODELS]
        if model not in proposal.config.models and len(columns) <= _MOST_COLUMNS and all(map(nameable, (model, *columns)))
    }
    models = dict(proposal.config.models)
    notes = dict(proposal.notes)
    for model, columns in new.items():
        try:
            models[model] = ModelSection(columns=columns)
        except ValidationError:  # all of them would be ignored
            continue
        notes[f"models.{model}.columns"] = "number, category, text, time or ignore: kinds are seen from the values"
    if len(models) == len(proposal.config.models):
        return proposal
    declared = replace(proposal, config=proposal.config.model_copy(update={"models": models}), notes=notes)
    return declared if survey(beginning, declared.config).events >= found.events else proposal

"""What an inspection found, as one document: for scripts as it is, for people as `words` puts it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.ingest.formats.auto import AUTO
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.refusals import HINTS
from detector.ingest.source import STDIN
from detector.names import printable
from detector.offline.inspection.proposal import Proposal, propose
from detector.offline.inspection.sample import Sample, read_sample
from detector.offline.inspection.survey import Recognition, Survey, recognition, survey

__all__ = ["inspect"]

_MOST_LARGEST: Final = 10
_MOST_MODELS: Final = 20
_MOST_LOGS: Final = 20
_MOST_SAID: Final = 5
_SEEN_HERE: Final = frozenset({"json", "schema", "unidentified"})  # the hint advises this command, or repeats the detail
_MOST_VALUES: Final = 8  # of an input that is shown


@dataclass(frozen=True, slots=True)
class _Found:
    sample: Sample
    seen: Recognition
    proposal: Proposal
    survey: Survey


def inspect(logs: Sequence[str], config: Config, *, records: int, events: int) -> dict[str, Any]:
    """Read at most `records` records of `logs` and return what they are, with the configuration to go on with.

    Everything that is counted is counted under that configuration. Raises `SourceError` where no log can be read, and
    `ConfigError` for a format that does not exist.
    """
    sample = read_sample(logs, config, records)
    seen = recognition(sample)
    proposal = propose(sample, Proposal(config), seen)
    if len(sample.logs) > 1 and STDIN not in sample.logs:
        # Several logs are merged by times that only the proposal may know how to read.
        sample = read_sample(logs, proposal.config, records)
        proposal = propose(sample, proposal.times(config), seen)
    found = _Found(sample, seen, proposal, survey(sample, proposal.config, events=events))
    return {
        "logs": _logs(sample),
        "records": len(sample),
        "complete": sample.complete and not sample.left_out,
        "formats": {
            name: {"records": count, "sign": seen.signs[name], "first": seen.first[name]}
            for name, count in seen.formats.most_common()
        },
        "unrecognised": seen.unknown,
        **_counts(found.survey),
        "refused": _refused(found.survey),
        "advice": list(_advice(found)),
        "problems": sample.problems,
        "configuration": proposal.toml(),
        "first_events": [_event(event) for event in found.survey.first],
    }


def _logs(sample: Sample) -> dict[str, Any]:
    shown = sample.logs[:_MOST_LOGS]
    return {
        "count": len(sample.logs) + sample.left_out,
        "read": len(sample.logs),
        "first": [
            {
                "name": name,
                "container": sample.containers[name].tell() if name in sample.containers else None,
                "wrapper": sample.wrappers.get(name),
            }
            for name in shown
        ],
    }


def _counts(found: Survey) -> dict[str, Any]:
    times = None if found.earliest_ms is None else [rfc3339(found.earliest_ms), rfc3339(found.latest_ms or 0)]
    halves = 2 * found.joined + found.waited
    return {
        "events": found.events,
        "times": times,
        "clients": {
            "count": len(found.queries),
            "named_by": {
                source: {"clients": len(known), "calls": known.total()}
                for source, known in sorted(found.clients.items(), key=lambda item: -item[1].total())
            },
            "largest": dict(found.queries.most_common(_MOST_LARGEST)),
        },
        "models": {
            model: {"events": count, "values": dict(found.dimensions.get(model, {}))}
            for model, count in found.models.most_common(_MOST_MODELS)
        },
        "columns": found.columns.shown(),
        "outputs": dict(found.outputs),
        "joined": {
            "calls": found.joined,
            "without_other_half": found.waited,
            "share": 2 * found.joined / halves if halves else None,
        },
        "batches": {"requests": found.requests, "events": found.rows},
        "sampled": {
            "events": found.weights.total(),
            "weights": {f"{weight:g}": n for weight, n in found.weights.most_common(5)},
        },
    }


def _refused(found: Survey) -> dict[str, Any]:
    refusals = found.refusals
    return {
        reason: {
            "count": count,
            "first": f"{example.origin.source}:{example.origin.line}",
            "detail": example.detail,
            "hint": None if reason in _SEEN_HERE else HINTS.get(reason),
        }
        for reason, count in sorted(refusals.counts.items(), key=lambda item: (-item[1], item[0]))
        if (example := refusals.first[reason])
    }


def _event(event: DecodedEvent) -> dict[str, Any]:
    values = event.input.values().tolist()
    return {
        "event_id": event.event_id,
        "time": rfc3339(int(event.time)),
        "client": event.client.id,
        "model": event.model.id,
        "values": len(values),
        "first_values": [None if value != value else float(f"{value:.6g}") for value in values[:_MOST_VALUES]],  # noqa: PLR0124  # NaN
        "label": event.output.label,
        "probabilities": event.output.probabilities,
    }


def _advice(found: _Found) -> list[str]:
    """Return a sentence for each thing that people have to decide or to mend."""
    proposal, surveyed, sample = found.proposal, found.survey, found.sample
    said = []
    if not len(sample):
        said.append("there is no record in it")
    elif not found.seen.formats and not proposal.guessed and proposal.config.ingest.format == AUTO:
        said.append("no record is a JSON object or a row of a table: is this a log of predictions?")
    if proposal.guessed:
        said.append("no format is recognised: [ingest.mapping] is a guess by names and values, so check each line of it")
    if proposal.lacking:
        said.append(f"nothing looks like the {' or the '.join(proposal.lacking)}: [ingest.mapping] must say where it stands")
    if "engine.naive_time_zone" in proposal.notes:
        said.append('times have no offset: [engine] naive_time_zone = "UTC" is a guess; name the zone of the server')
    if proposal.config.ingest.missing_time == "file":
        said.append("records have no time: those of a file all get the time at which it was written")
    if any(rule.constant is not None for rule in proposal.config.ingest.clients):
        said.append("the log does not say who asked: all queries count for one client; log a header that names the client")
    said += [
        f"model {printable(model)} has inputs of several lengths, and takes one: the others become dead letters (dimension)"
        for model, lengths in surveyed.dimensions.items()
        if len(lengths) > 1
    ][:_MOST_SAID]
    if len(found.seen.formats) > 1:
        said.append("several formats are mixed: auto takes each record by itself")
    if found.seen.formats and found.seen.unknown:
        said.append(f"{found.seen.unknown:,} of {len(sample):,} records are of no known format")
    if (backwards := surveyed.refusals.newest_first()) is not None:
        said.append(backwards)
    if sample.left_out:
        said.append(f"{sample.left_out:,} files were not looked at")
    return said

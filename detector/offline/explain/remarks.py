"""Remarks: the headline, what to do about it, and what to be warned of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detector.baseline.store import NO_BASELINE, Baseline
from detector.config import Config
from detector.contracts.decision import rank
from detector.names import printable
from detector.offline.explain.explanation import Case, DecisionTaken
from detector.offline.explain.stops import held_back, simulated
from detector.offline.explain.words import count
from detector.offline.trace import Trace


def headline_of(cases: tuple[Case, ...], level: str, queries: int) -> str:
    """Return one sentence: what first called for the level that the client reached, or how near it came."""
    steps = [(step, case) for case in cases for step in case.steps]
    if not steps:
        nearest = max(cases, key=lambda case: case.share)
        if nearest.share < 0.005:
            return f"Nothing stands out: no evidence of any kind in {count(queries, 'query')}."
        return (
            f"Nothing stands out: no evidence reached a threshold in {count(queries, 'query')}; "
            f"{nearest.name} came nearest, {100 * nearest.share:.0f}% of the way to an alert."
        )
    hardest = max(rank(step.action) for step, _ in steps)
    reached = [(step.query, step, case) for step, case in steps if rank(step.action) == hardest]
    query, step, case = min(reached, key=lambda entry: entry[0])
    if case.kind == "harm":
        why = "answered well enough for a copy of the model"
    else:
        why = "made from earlier ones" if case.kind == "construction" else "unlike those of benign clients"
    rest = f", and was held back: the highest level is {level}" if hardest > rank(level) else ""
    return f"Queries {why}: {case.name} called for {step.action} at query {query:,} (score {step.score:,.1f}){rest}."


def advice_for(trace: Trace, config: Config, decisions: Sequence[DecisionTaken]) -> Iterator[str]:
    """Yield what the operator can do about the client."""
    if not trace.escalations:
        yield "Nothing needs to be done."
        return
    yield from simulated(trace, config, decisions)
    yield from held_back(trace, decisions)
    yield "Compare the example queries, and ask the client's owner what the software does."
    if trace.client in config.policy.never_block:
        yield "The client is on [policy] never_block: it is throttled at most, whatever it does."
    else:
        yield (
            "If it is innocent: lift what is in force with an explicit allow, and put the client on [policy] never_block, "
            "which leaves throttling."
        )
    yield (
        "If its traffic will stay and a person has reviewed it: fit the baseline again with this client in the log, "
        "so that its kind is known. Never do that before the review: a baseline with a thief in it calls theft usual."
    )


def warnings_about(
    summary: Mapping[str, Any],
    config: Config,
    baseline: Baseline | None,
    model: str,
    recorded: Mapping[str, Any],
    now: Mapping[str, Any],
    problems: tuple[str, ...],
    trace: Trace,
) -> Iterator[str]:
    """Yield where the second run cannot stand for the first.

    `recorded` and `now` are the lines of the client in both, `problems` what the second run complained about.
    """
    yield from problems
    version = baseline.version if baseline else NO_BASELINE
    for what, then, current in (
        ("configuration", summary.get("config_version"), config.version),
        ("baseline", summary.get("baseline_version"), version),
    ):
        if then != current:
            yield f"the {what} is not that of the results: {current} now, {then} then; what follows holds for the one of now"
    changed = [key for key in ("queries", "level", "evidence") if recorded.get(key) != now.get(key)]
    if changed:
        differences = "; ".join(f"{key} {_brief(now[key])} now, {_brief(recorded.get(key))} then" for key in changed)
        yield f"running the logs again found something else than the results say: {differences}"
    if baseline is None or model not in baseline.models:
        yield "there is no baseline for this model: novelty compares with this log's other clients alone, and cannot throttle"
    if unfamiliar := now.get("unfamiliar"):
        yield (
            f"the client is unlike every known one, though it learns no more than others: nearest to profile "
            f"{unfamiliar['profile']}, but {', '.join(unfamiliar['features'])} the usual range. If a person has reviewed it: "
            "`detector baseline accept` makes its kind known"
        )
    if sentence := refused_sentence(now):
        yield sentence
    if now["reused"]:
        yield f"{count(int(now['reused']), 'query')} came under the id of another query"
    if trace.lives > 1:
        yield f"the client was forgotten {count(trace.lives - 1, 'time')}, without evidence; this is about its latest return"


def addresses_of(now: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield which address the explanation is about, where the identity is not vouched for, and what came from others.

    `now` is the line of ``clients.jsonl`` that is explained, `found` are all under the name.
    """
    if "address" in now:
        yield f"the identity is not vouched for: this is about what came from {printable(now['address'])}, throttled at most"
    others = [line for line in found if line.get("address") != now.get("address")]
    if others:
        responses = ", ".join(
            f"{printable(str(line.get('address', 'a vouched identity')))} ({line['level']})" for line in others[:5]
        )
        yield f"others asked under this name as well, and are not meant: {responses}"


def refused_sentence(client: Mapping[str, Any]) -> str:
    """Return what could not be used of a client, a line of ``clients.jsonl``; empty where everything could."""
    refused: Mapping[str, int] = client["refused"]
    if not refused:
        return ""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in sorted(refused.items(), key=lambda entry: -entry[1]))
    return f"{count(sum(refused.values()), 'query')} could not be used ({reasons}); see the dead-letter records"


def _brief(value: Any) -> str:
    return ", ".join(f"{k} {v:g}" for k, v in value.items()) if isinstance(value, dict) else str(value)

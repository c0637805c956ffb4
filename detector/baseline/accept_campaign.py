"""Acceptance of a campaign: teaching a baseline that a group of accounts which was found together is innocent.

A roll-out, a load test dealt over keys or an organisation that the log does not name may look like one theft. Its evidence
joins that of the groups of the calibration log, so the bars of the model rise above it (see `engine.links.usual`), for every
group with most events of the same kind. The reference does not change, so a service can continue with its saved state.

The price: a theft with no more evidence is no longer seen. Where the log can name the organisation of such accounts, that is
better: it counts as one account, and nothing rises.

A campaign has the same name in every run over the same stream with the same baseline, and another name where the search began
elsewhere. So it is found only in the log that it was found in, from where that run began.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from detector.baseline.accept import Review
from detector.baseline.store import Baseline, version_of
from detector.engine.links.joined import Event, Group
from detector.engine.links.linker import Linker, Witness
from detector.engine.links.sketch import in_stream_order
from detector.engine.links.usual import bars_of, with_group
from detector.engine.shard import EngineSettings, Shard
from detector.errors import BaselineError
from detector.ingest.batch import Batch


@dataclass(slots=True)
class _Seen(Witness):
    """Watches one campaign: its highest evidence, by itself or with groups like it, its accounts and the kind of its events."""

    name: str
    evidence: float = 0.0
    kind: int = 0
    accounts: int = 0

    def linked(self, event: Event, group: Group, linker: Linker) -> None:
        del event
        if group.level and linker.telling.name_of(group) == self.name:
            self.evidence = max(self.evidence, group.highest, group.pooled / 1000.0)
            self.accounts, self.kind = len(group.accounts), group.kind


def accept_campaign(
    baseline: Baseline,
    model: str,
    campaign: str,
    batches: Iterable[Batch],
    settings: EngineSettings,
    review: Review,
    *,
    despite_construction: bool = False,
) -> Baseline:
    """Return the baseline with the evidence of a campaign of `model` among that of its innocent groups.

    `batches` hold all queries of the model, of every account, in the order of the run that found the campaign.

    Raises `BaselineError` when the baseline does not know the model, when the campaign is not found in `batches`, or when the
    bar from which accounts are stopped would rise (unless `despite_construction`).
    """
    if model not in baseline.models:
        raise BaselineError(f"there is no model {model!r} in the baseline; it knows {', '.join(sorted(baseline.models))}")
    known = baseline.models[model]
    seen = _Seen(campaign)
    linker = Linker(
        model,
        settings.links,
        known.reference,
        settings.policy,
        scores=known.link_scores,
        secret=settings.secret,
        witness=seen,
    )
    shard = Shard(settings, {model: known})
    for batch in batches:
        if batch.model == model:
            for sketches in in_stream_order(shard.process(batch).sketches).values():
                linker.process(sketches)
    if not seen.accounts:
        raise BaselineError(
            f"{campaign} is not found in this log: give the whole log of the run that found it, from its beginning, and the "
            "baseline of that run"
        )
    scores = with_group(known.link_scores, seen.kind, seen.evidence)
    was, now = bars_of(known.link_scores)[seen.kind], bars_of(scores)[seen.kind]
    stops_less = now.high > was.high or now.stops < was.stops
    if stops_less and not despite_construction:
        raise BaselineError(
            f"{campaign} has evidence {seen.evidence:.1f}: if it were accepted, accounts of the model would be stopped from "
            f"{now.high:.1f} on instead of {was.high:.1f} (--despite-construction accepts that); better let the log name the "
            "organisation of its accounts, or lift its decisions"
        )
    notes = baseline.notes[model]
    entry = {
        "campaign": campaign,
        "actor": review.actor,
        "at": review.at,
        "reason": review.reason,
        "accounts": seen.accounts,
        "evidence": round(seen.evidence, 3),
        "despite_construction": stops_less,
        "kind": seen.kind,
    }
    noted = {
        **notes,
        "accepted_campaigns": [*notes.get("accepted_campaigns", []), entry],
    }
    models = {**baseline.models, model: replace(known, link_scores=scores)}
    return Baseline(
        version_of(models, baseline.schemas), models, {**baseline.notes, model: noted}, baseline.seed, baseline.schemas
    )


def bars_moved(before: Baseline, after: Baseline, model: str) -> list[str]:
    """Return what the acceptance of a campaign changed, in sentences."""
    entry = after.notes[model]["accepted_campaigns"][-1]
    was, now = (bars_of(known.models[model].link_scores)[entry["kind"]] for known in (before, after))
    told = [f"{entry['campaign']}: {entry['accounts']:,} accounts, evidence {entry['evidence']:.1f}"]
    for what, old, new in (("reviewed", was.low, now.low), ("stopped", was.high, now.high)):
        if new > old:
            told.append(
                f"groups of accounts are {what} from {new:.1f} on, before from {old:.1f}: that holds for all of this kind"
            )
    if len(told) == 1:
        told.append("no bar moved: groups with as much evidence were innocent before")
    return told

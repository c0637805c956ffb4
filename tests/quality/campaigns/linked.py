"""What the search for links between accounts finds in traffic: the linker alone, on sketches of every query.

Evidence inside one account is not computed, which takes most of the time of the whole engine and which the linker does not use.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from detector.engine.account import account_of
from detector.engine.findings import Outputs
from detector.engine.fitting.reference import fit_reference
from detector.engine.links.drawing import sketches_of
from detector.engine.links.evidence import NAMES
from detector.engine.links.linker import Linker
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.telling import REVIEW, STOP
from detector.engine.links.usual import Scores
from detector.engine.memory.hashing import Contents
from detector.engine.models.reference import Reference
from detector.engine.policy import THROTTLE, PolicySettings
from detector.redteam.play import START_MS
from tests.quality.campaigns.found import Found, Group, Size
from tests.quality.campaigns.traffic import DAY_MS, Traffic
from tests.quality.campaigns.worlds import World, past_day, served

SECRET = 1
TEACHING = 6000  # queries that the reference is fitted on
POLICY = PolicySettings(shadow=False)


@lru_cache(maxsize=2)
def calibrated(world: World, size: Size) -> tuple[Reference, npt.NDArray[np.float64]]:
    """Fit the reference of a world on the teachers' day; return it with what was usual on the other day before."""
    model = served(world)
    teachers = past_day(world, size.teaching, "teaching")
    rows = np.random.default_rng(SECRET).permutation(len(teachers))[:TEACHING]
    reference = fit_reference(
        teachers.vectors[rows],
        teachers.answers.shape[1],
        seed=SECRET,
        categorical=model.categorical,
        clients=[teachers.accounts[place].id for place in teachers.account[rows].tolist()],
    )
    linker = _linker(model.evaluation.id, reference, ())
    for _ in _outputs(linker, past_day(world, size.calibrating), reference, labels_only=model.labels_only):
        pass
    return reference, linker.usual()


def linked(world: World, traffic: Traffic, size: Size) -> Found:
    """Link the accounts of a day."""
    model = served(world)
    reference, scores = calibrated(world, size)
    linker = _linker(model.evaluation.id, reference, scores)
    told: dict[str, float] = {}
    met: dict[str, float] = {}
    for outputs in _outputs(linker, traffic, reference, labels_only=model.labels_only):
        for finding in outputs.findings:
            for member in finding.members:
                told.setdefault(member.client, _days(finding.time_ms))
        for decision in outputs.pending_decisions:
            if decision.action >= THROTTLE:
                for member in decision.members:
                    met.setdefault(member.client, _days(decision.issued_ms))
    named = {
        account_of(account.key).client: _days(account.named_ms)
        for account in linker.groups.grouped.values()
        if account.named_ms and linker.groups.groups[account.group].level >= REVIEW
    }
    groups = tuple(
        Group(
            tuple(account_of(linker.groups.grouped[number].key).client for number in group.accounts),
            group.highest,
            {name: group.counts[kind] for kind, name in NAMES.items() if group.counts[kind]},
            group.level >= REVIEW,
            group.level >= STOP,
        )
        for group in linker.groups.groups.values()
        if group.level >= REVIEW or group.highest > 0.0
    )
    return Found(
        groups, told, named, met, max(bars.low for bars in linker.telling.bars), max(bars.high for bars in linker.telling.bars)
    )


def _linker(model: str, reference: Reference, scores: Scores) -> Linker:
    return Linker(model, LinkSettings(), reference, POLICY, scores=scores, secret=SECRET)


def _outputs(linker: Linker, traffic: Traffic, reference: Reference, *, labels_only: bool) -> Iterator[Outputs]:
    contents = Contents(SECRET, reference.dimension)
    for batch in traffic.batches(linker.model, labels_only=labels_only):
        vectors = np.where(np.isnan(batch.vector), reference.missing, batch.vector)
        reduced = reference.reduce(vectors)
        hashes = contents.of(batch.vector, batch.label, batch.confidence, batch.runner_up)
        sketches: Sketches = sketches_of(batch, np.arange(len(batch), dtype=np.intp), batch.client, reduced, hashes)
        yield linker.process(sketches)


def _days(time_ms: int) -> float:
    return (time_ms - START_MS) / DAY_MS

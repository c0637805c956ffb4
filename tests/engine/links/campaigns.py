"""Logs with a theft that is dealt to several accounts, for tests of links between accounts."""

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

from detector.baseline.store import Baseline
from detector.engine.findings import Outputs
from detector.engine.links.linker import Linker
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches, in_stream_order
from detector.engine.policy import PolicySettings
from detector.engine.shard import EngineSettings, Shard
from detector.testing import START_MS, Events, batches

LIVE = PolicySettings(shadow=False, new_stops_per_minute=0, stopped_share=1.0)


def theft(accounts: int = 6, seeds: int = 41, *, innocents: int = 6, trusted: bool = True) -> list[bytes]:
    """Return a log in which a thief moves digits by flat steps, each query from another account, among innocent clients."""
    data = load_digits()
    rng = np.random.default_rng(7)
    events = Events("digits", start_ms=START_MS, step_ms=700)
    chosen = rng.permutation(len(data.data))
    own, others = chosen[:seeds], chosen[seeds:]
    asked = [(data.data[row], data.target[row]) for row in own]
    for _ in range(3):
        for row in own:
            signs = rng.choice([-1.0, 1.0], 64)
            asked.append((np.clip(data.data[row] + 2.0 * signs, 0.0, 16.0), data.target[row]))
    lines = []
    for turn, (x, label) in enumerate(asked):
        lines.append(events.line(f"thief-{turn % accounts}", x, int(label), trusted=trusted))
        row = others[turn % len(others)]
        lines.append(events.line(f"innocent-{turn % innocents}", data.data[row], int(data.target[row])))
    return lines


def sketched(lines: Sequence[bytes], baseline: Baseline) -> Sketches:
    """Return what a shard sketches of a log of one model."""
    outputs = Shard(EngineSettings(seed=5), baseline.models).process(*batches(lines))
    (sketches,) = in_stream_order(outputs.sketches).values()
    return sketches


def linker(baseline: Baseline, policy: PolicySettings = LIVE, settings: LinkSettings | None = None) -> Linker:
    """Return a linker of the model of digits that has seen nothing."""
    known = baseline.models["digits"]
    return Linker(
        "digits",
        settings or LinkSettings(),
        known.reference,
        policy,
        scores=known.link_scores,
        reference_set=known.reference_set,
        secret=5,
    )


def linked(sketches: Sketches, baseline: Baseline, policy: PolicySettings = LIVE) -> Outputs:
    """Return what is found in sketches."""
    return linker(baseline, policy).process(sketches)

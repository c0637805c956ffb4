"""A day of digits to explain: three readers, a line search, a stranger and a client of two models."""

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from detector.baseline.store import Baseline, save
from detector.config import Config
from detector.offline.explain import Explanation, explain
from detector.offline.replay import fit, load_baseline, replay
from detector.redteam.conversation import Conversation, converse
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.victim import Pool, digits_victim
from detector.testing import Events

ODD = "key\x1b[31m$x$\n"


@dataclass(frozen=True)
class Day:
    """The results of a day, and what they were made with."""

    folder: Path
    config: Config
    baseline: Baseline
    log: Path
    odd: str = ODD

    def explain(self, client: str, model: str | None = None) -> Explanation:
        return explain(client, model, self.folder, self.config, self.baseline)

    def records(self, name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Fit a baseline on a log of readers, then replay the log of the day."""
    home = tmp_path_factory.mktemp("day")
    victim = digits_victim(7)

    def ask(events: Events, client: str, conversation: Conversation, queries: int) -> list[bytes]:
        vectors, answers, _ = converse(conversation, victim.predict, queries)
        return [
            events.line(client, x, int(p.argmax()), probabilities=p.tolist()) for x, p in zip(vectors, answers, strict=True)
        ]

    def reader(pool: Pool, seed: int) -> Conversation:
        return PROFILES["steady"].begin(victim.setting(pool, np.random.default_rng(seed)))

    def thief(attack: str) -> Conversation:
        pool = victim.attacker
        return ATTACKS[attack].begin(victim.setting(pool, np.random.default_rng(5)))

    history, live, other = Events("digits"), Events("digits"), Events("other")
    past = [ask(history, f"past-{i}", reader(victim.baseline, i), 64) for i in range(60)]
    (home / "history.jsonl").write_bytes(b"\n".join(chain.from_iterable(past)))
    today = [ask(live, f"reader-{i}", reader(victim.benign, 100 + i), 70) for i in range(3)]
    today += [ask(live, "thief", thief("line_search"), 60), ask(live, "stranger", thief("uniform"), 40)]
    today += [ask(live, ODD, reader(victim.benign, 200), 5), ask(live, "twofold", reader(victim.benign, 201), 9)]
    today += [ask(other, "twofold", reader(victim.benign, 202), 9)]
    log = home / "live.jsonl"
    log.write_bytes(b"\n".join(chain.from_iterable(today)))
    config = Config().with_baseline(home / "baseline")
    save(fit([str(home / "history.jsonl")], config), home / "baseline")
    baseline = load_baseline(config)
    assert baseline is not None
    replay([str(log)], home / "out", config, baseline)
    return Day(home / "out", config, baseline, log)

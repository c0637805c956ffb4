"""Whatever a log holds: an inspection does not fail, and what it proposes is read back and gives the same events."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from detector.config import Config, load
from detector.ingest.formats.registry import FORMATS
from detector.offline.inspection.report import inspect
from detector.offline.inspection.words import tell
from tests.offline.inspection.test_every_format import golden

NAMES = ["user", "a b", '"', "\x1b", "client.id", "ts", "score", "label", "\ud800", "x" * 300, ""]
VALUES: list[Any] = [
    None,
    True,
    -1,
    1e300,
    10**400,
    "",
    "x",
    [],
    {},
    [[]],
    float("nan"),
    "client=c",
    "2026-05-04 10:31:07",
    "[1, 2]",
]
ENDS = [b"\n", b"\r\n", b"", b",\n"]


def changed(value: Any, rng: random.Random) -> Any:
    """Return a document with some of its names and values replaced or left out."""
    if isinstance(value, dict):
        kept = [
            (rng.choice(NAMES) if rng.random() < 0.1 else name, below) for name, below in value.items() if rng.random() > 0.1
        ]
        return {name: changed(below, rng) if rng.random() < 0.9 else rng.choice(VALUES) for name, below in kept}
    if isinstance(value, list):
        return [changed(below, rng) for below in value]
    return value if rng.random() < 0.95 else rng.choice(VALUES)


@pytest.mark.parametrize("name", FORMATS)
def test_changed_samples(name: str, tmp_path: Path) -> None:
    """Each format's own, several records of each, with any line end between them."""
    log, config = golden(name, tmp_path), tmp_path / "detector.toml"
    first_of = json.JSONDecoder().raw_decode  # a record may hold several objects
    documents = [first_of(line)[0] for line in log.read_text().splitlines() if line.startswith(('{"', "[{"))]
    for seed in range(8):
        rng = random.Random(seed)  # a repeatable choice, no secret
        records = [json.dumps(changed(rng.choice(documents), rng)).encode() for _ in range(20)]
        log.write_bytes(rng.choice(ENDS).join(records))
        found = inspect([str(log)], Config().with_format("auto"), records=1000, events=10)
        assert all(isinstance(line, str) for line in tell(found))
        config.write_text(found["configuration"], encoding="utf-8")
        assert inspect([str(log)], load(config), records=1000, events=0)["events"] == found["events"]

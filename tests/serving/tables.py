"""A log of tables: census records by name, with texts, truths, numbers as text and missing values.

The records are 2,400 rows of the Adult data set (US census of 1994, public domain). The model says whether somebody earns more
than 50,000 dollars a year. The log is that of Databricks, which names who asked.
"""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detector.contracts.moment import rfc3339
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Predict
from detector.redteam.play import Player, turns
from detector.redteam.setting import Setting
from detector.redteam.space import Space
from detector.redteam.victim import Pool
from tests.serving.players import Pools, past, today

Array = npt.NDArray[np.float64]

NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
INNOCENTS = ("tab_steady", "tab_bursty", "tab_retries", "tab_skewed", "tab_what_if")
THIEVES = ("uniform", "line_search")


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """The records as numbers and codes, what the codes stand for, and the model's answers."""

    names: tuple[str, ...]
    rows: Array
    richer: npt.NDArray[np.int64]
    codes: Mapping[str, Sequence[str]]

    @property
    def columns(self) -> TableColumns:
        """What a client knows of the records."""
        return TableColumns.of(self.rows, [at for at, name in enumerate(self.names) if name in self.codes])

    def part(self, first: int, last: int) -> Pool:
        """Return some of the records."""
        return Pool(self.rows[first:last], self.richer[first:last])

    def record(self, vector: Array, rng: np.random.Generator, missing: float = 0.03) -> dict[str, Any]:
        """Return a row as an application sends it: three values in a hundred are missing, one way or another."""
        found: dict[str, Any] = {}
        for name, value in zip(self.names, vector.tolist(), strict=True):
            called = "male" if name == "sex" else name
            if rng.random() < missing:
                kind = int(rng.integers(3))
                if kind:
                    found[called] = None if kind == 1 else ""
            elif name == "sex":
                found[called] = self.codes[name][int(value)] == "Male"
            elif name in self.codes:
                found[called] = self.codes[name][int(value)]
            else:
                found[called] = str(round(value)) if name == "hours-per-week" else round(value)
        return found


@cache
def census() -> Census:
    """Read the records."""
    text = gzip.decompress((Path(__file__).parent / "adult.csv.gz").read_bytes()).decode()
    entries = list(csv.DictReader(io.StringIO(text)))
    names = tuple(name for name in entries[0] if name != "income-per-year")
    codes = {name: sorted({entry[name] for entry in entries}) for name in names if name not in NUMBERS}
    rows = [[codes[name].index(entry[name]) if name in codes else float(entry[name]) for name in names] for entry in entries]
    richer = np.array([entry["income-per-year"].startswith(">") for entry in entries], np.int64)
    return Census(names, np.array(rows, np.float64), richer, codes)


def written(history: Path, live: Path) -> None:
    """Write the log of a benign fortnight, and that of a day with thieves, whose clients are called ``thief-...``."""
    known = census()
    space = Space.of(known.columns, (0.0, 1.0), len(known.names))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(space.encode(known.rows[:800]), known.richer[:800])

    def predict(X: Array) -> Array:
        return np.asarray(model.predict_proba(space.encode(X)), np.float64)

    def begin(pool: Pool, rng: np.random.Generator) -> Setting:
        return Setting(pool.vectors, pool.labels, rng, columns=known.columns)

    pools = Pools(*(known.part(first, last) for first, last in ((800, 1150), (1150, 1500), (1500, 2100), (2100, 2400))))
    for path, players in ((history, past(INNOCENTS, pools, begin)), (live, today(INNOCENTS, THIEVES, pools, begin))):
        path.write_bytes(b"".join(line + b"\n" for line in _lines(players, predict, known)))


def _lines(players: Sequence[Player], predict: Predict, known: Census) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for n, turn in enumerate(turns(players, predict)):
        request = {"dataframe_records": [known.record(turn.query.vector, rng, 0.0 if turn.player.hostile else 0.03)]}
        entry = {
            "databricks_request_id": f"{turn.time_ms:x}-{n}",
            "request_time": rfc3339(turn.time_ms),
            "status_code": 200,
            "execution_duration_ms": 12,
            "request": json.dumps(request),
            "response": json.dumps({"predictions": [round(float(turn.answer[1]), 4)]}),
            "served_entity_id": "income",
            "requester": turn.player.name,
        }
        yield json.dumps(entry).encode()

"""Small logs of real servers, each with what is expected of it, and the configuration that reads it.

Three were written by the servers themselves (KServe's logger before MLServer, twice, and BentoML); the others follow the
formats' sources. Where an ``expected.json`` says that an empty cell makes a dead letter, ``[ingest] missing = "refuse"`` is
set.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.ingest.formats.decoder import Record

__all__ = ["LOGS", "ServingLog"]

HERE = Path(__file__).parent
BLOB_MS = 1_795_889_804_746  # what the reader gives a log that has no times at all


def _lines(path: str, *, topic: str = "") -> Iterator[Record]:
    for line in (HERE / path).read_bytes().splitlines():
        yield Record(line, topic=topic)


def _kcat(path: str) -> Iterator[Record]:
    for line in (HERE / path).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        flat = entry["headers"]
        headers = [(name, value.encode()) for name, value in zip(flat[::2], flat[1::2], strict=True)]
        yield Record(entry["payload"].encode(), None, headers, "", entry["ts"])


def _rows(*paths: Path, time_ms: int | None = None) -> Iterator[Record]:
    for path in paths:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                yield Record(json.dumps(row).encode(), time_ms=time_ms)


@dataclass(frozen=True, slots=True)
class ServingLog:
    """A log: its folder, its format, the ``[ingest]`` section it needs, and its records as Kafka would hold them."""

    folder: str
    format: str
    records: Callable[[], Iterator[Record]]
    ingest: Mapping[str, Any] = field(default_factory=dict)
    naive_zone: str | None = None

    @property
    def expected(self) -> dict[str, Any]:
        """What the log holds: events, clients, models, dead letters."""
        found: dict[str, Any] = json.loads((HERE / self.folder / "expected.json").read_text(encoding="utf-8"))
        return found


LOGS = (
    ServingLog("apisix-kafka-logger", "apisix", lambda: _lines("apisix-kafka-logger/log.jsonl")),
    ServingLog("kserve-logger-v2", "kserve", lambda: _kcat("kserve-logger-v2/kcat.jsonl")),
    ServingLog("kserve-logger-v2", "kserve", lambda: _lines("kserve-logger-v2/http.jsonl")),
    ServingLog(
        "kserve-blob-csv",
        "kserve",
        lambda: _rows(*sorted((HERE / "kserve-blob-csv").rglob("*.csv")), time_ms=BLOB_MS),
        {"clients": [{"header": "x-consumer-id"}]},
    ),
    ServingLog(
        "seldon-v1-kafka", "seldon", lambda: _kcat("seldon-v1-kafka/kcat.jsonl"), {"clients": [{"body": "meta.tags.client"}]}
    ),
    ServingLog(
        "sagemaker-csv-in-json-out",
        "sagemaker",
        lambda: _lines(
            "sagemaker-csv-in-json-out/fraud-endpoint/AllTraffic/2026/05/04/10/30-00-000-8f1c.jsonl",
            topic="fraud-endpoint/AllTraffic/2026/05/04/10/30-00-000-8f1c.jsonl",
        ),
        {"clients": [{"path": "eventMetadata.customAttributes", "pattern": "client=(.+)"}], "missing": "refuse"},
    ),
    ServingLog(
        "databricks-legacy",
        "databricks",
        lambda: _lines("databricks-legacy/inference_table.jsonl"),
        {"clients": [{"path": "client_request_id", "pattern": "^([^:]+)"}]},
    ),
    ServingLog(
        "bentoml-monitor",
        "bentoml",
        lambda: (
            record
            for path in ("schema/schema.1.log", "data/data.1.log")
            for record in _lines(f"bentoml-monitor/wine_monitor/{path}")
        ),
        {"clients": [{"constant": "(configured constant)"}]},
        "UTC",
    ),
    ServingLog(
        "frame-csv",
        "mapping",
        lambda: _rows(HERE / "frame-csv/predictions.csv"),
        {
            "model": "fraud",
            "missing": "refuse",
            "mapping": {
                "id": "prediction_id",
                "time": "ts",
                "client": "user",
                "label": "prediction",
                "score": "score",
                "columns": ["amount", "age", "income", "tenure_months", "dti", "country", "card_present", "velocity_1h"],
            },
        },
        "UTC",
    ),
)

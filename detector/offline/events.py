"""Events from a data frame of the reader's own: which column is the client, which the time, which the input.

For logs that are tables already. The events are those of the native format, so that everything takes them: `Detector`,
and, once they are written to a file, `fit_baseline`, `replay` and the service.
"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, overload

from detector.baseline.store import Baseline
from detector.config import Config
from detector.config.detection import zone_of
from detector.contracts import DeadLetter
from detector.errors import OutputError
from detector.ingest.formats.native import to_line
from detector.ingest.formats.routing import schemas_for
from detector.ingest.schema import InputSchema
from detector.offline.columns import Table
from detector.offline.files import set_up
from detector.offline.rows import FIELDS, Layout, Reference, Row, rows_of

__all__ = ["FrameEvents", "events_from"]

SOURCE: Final = "frame"


@dataclass(frozen=True, eq=False, repr=False)
class FrameEvents(Sequence[Mapping[str, Any]]):
    """The events of a frame, in the order of its rows, and what was refused.

    It is a sequence of events as the native format has them: give it to `Detector.observe` as it is, or `write` it for
    `fit_baseline` and `replay`. `refused` says of each row that is no event its number (`line`, counted from 1), reason and
    detail.
    """

    events: Sequence[Mapping[str, Any]]
    refused: Sequence[DeadLetter]

    def __repr__(self) -> str:
        """Say how many there are, and why the others are none."""
        reasons = Counter(entry.reason for entry in self.refused)
        said = "".join(f", {count:,} refused as {reason}" for reason, count in sorted(reasons.items()))
        return f"<FrameEvents: {len(self.events):,} events{said}>"

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.events)

    @overload
    def __getitem__(self, at: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Mapping[str, Any]]: ...

    def __getitem__(self, at: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        """Return an event, or several."""
        return self.events[at]

    def write(self, path: str | Path) -> Path:
        """Write the events as JSON Lines, a log of the native format; raises `OutputError` where that fails."""
        path = Path(path)
        try:
            with path.open("wb") as file:
                file.writelines(to_line(event) + b"\n" for event in self.events)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        return path


def events_from(
    frame: Any,
    columns: Any = None,
    *,
    client: Any,
    time: Any,
    model: str | None = None,
    model_column: Any = None,
    label: Any = None,
    probabilities: Any = None,
    score: Any = None,
    event_id: Any = None,
    fields: Mapping[str, Any] | None = None,
    zone: str | dt.tzinfo | None = None,
    baseline: Baseline | str | Path | None = None,
    config: Config | str | Path | None = None,
) -> FrameEvents:
    """Make events of a table: a data frame of pandas or polars, a table of pyarrow, or a mapping of columns.

    - `columns` are the names of the columns that are the input, in order: numbers, categories, truths, with or without empty
      cells. One name alone, not in a list, is a column that holds the whole input: lists of numbers, or texts. Without it they
      are the columns that the baseline knows, or that ``[models."ID".columns]`` declares.
    - `client`, `time`, `label` and `event_id` name columns. A time is a datetime, RFC 3339 text, or a number of seconds,
      milliseconds, microseconds or nanoseconds since 1970, which its size tells. `zone` is the zone of times without an offset.
      Without ids the content of a row makes one, the same whenever the same frame is read.
    - The answer is a `label`, `probabilities` (a column of lists, or a list of columns, one a class), or a `score`: the
      probability of the second class, or another number that was predicted. Give one or more of them.
    - `model` is the id of the model that was asked, or `model_column` the column that holds it.
    - `fields` maps further fields of the native form to their columns: ``{"client.ip": "address", "latency_ms": "took"}``.

    Where a baseline or the configuration knows the columns of a model, its inputs become numbers here. Else they go by name,
    and whoever reads the events encodes them.

    A row that is no event is in ``.refused``, with the reason that a reader of logs would give. It does not count for its
    client then.

    >>> import detector
    >>> frame = {
    ...     "user": ["acme", "acme", None],
    ...     "when": ["2026-05-04T10:31:07Z", "2026-05-04T10:31:08Z", "2026-05-04T10:31:09Z"],
    ...     "amount": [12.5, float("nan"), 7.0],
    ...     "country": ["FR", "DE", "FR"],
    ...     "fraud": [0.25, 0.75, 0.5],
    ... }
    >>> events = detector.events_from(frame, ["amount", "country"], client="user", time="when", score="fraud", model="cards")
    >>> events
    <FrameEvents: 2 events, 1 refused as unidentified>
    >>> events[1]["input"], events[1]["output"]
    ({'columns': {'amount': None, 'country': 'DE'}}, {'probabilities': [0.25, 0.75]})
    >>> [(refused.line, refused.detail) for refused in events.refused]
    [(3, "column 'user': no client in it")]
    >>> detector.Detector().observe(events)
    ([], [])

    Raises TypeError for an object that is no table, ValueError for columns that are not there or are of different lengths, for
    datetimes without an offset where nothing says their zone, and for parameters that contradict each other; `BaselineError`
    and `ConfigError` as `replay` does.

    >>> detector.events_from(frame, ["amount", "land"], client="user", time="when", score="fraud", model="cards")
    Traceback (most recent call last):
    ValueError: columns: no column 'land'; there are: 'user', 'when', 'amount', 'country', 'fraud'
    """
    _check(model, model_column, (label, probabilities, score), fields)
    settings, known = set_up(config, baseline)
    schemas = schemas_for(settings, known.schemas if known else None)
    inputs = _inputs(columns, model, schemas)
    layout = Layout(inputs, client, time, model, model_column, label, probabilities, score, event_id, dict(fields or {}))
    naive_zone = zone_of(zone) if isinstance(zone, str) else zone or settings.engine.naive_zone
    reference = Reference(schemas, missing=settings.ingest.missing == "keep")
    rows = list(rows_of(Table(frame), layout, reference, naive_zone))
    return FrameEvents(
        [row.event for row in rows if row.refusal is None], [entry for row in rows if (entry := _refused(row)) is not None]
    )


def _check(model: str | None, model_column: Any, answer: Sequence[Any], fields: Mapping[str, Any] | None) -> None:
    if (model is None) == (model_column is None):
        raise ValueError("give either model, the id of the model, or model_column, the column that holds it")
    if all(part is None for part in answer):
        raise ValueError("say where the answer is: label, probabilities or score")
    unknown = next((name for name in fields or () if name not in FIELDS), None)
    if unknown is not None:
        raise ValueError(f"fields: no field {unknown!r}; there are: {', '.join(FIELDS)}")


def _inputs(columns: Any, model: str | None, schemas: Mapping[str, InputSchema]) -> Any:
    """Return the columns of the input as `Layout` has them."""
    schema = schemas.get(model or "")
    if columns is None:
        if schema is None:
            raise ValueError(f"say which columns are the input: nothing is known of those of model {model!r}")
        return list(schema.names)
    if isinstance(columns, str):
        return columns
    inputs = list(columns)
    if not inputs:
        raise ValueError("columns: not one is named")
    lacking = [] if schema is None else [name for name in schema.names if name not in map(str, inputs)]
    if lacking:
        raise ValueError(f"columns: the baseline of model {model!r} has {lacking[0]!r}, which is not among them")
    return inputs


def _refused(row: Row) -> DeadLetter | None:
    refusal = row.refusal
    if refusal is None:
        return None
    return DeadLetter.of(source=SOURCE, line=row.number, reason=refusal.reason, detail=refusal.detail, record=row.record())

"""Tables: the documents that a replay wrote, and the traces of its clients, as data frames.

Times are event times, in UTC. A table without rows has all its columns.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.offline.trace import NOVELTY, Trace

ALERTS = (
    "time",
    "client",
    "model",
    "queries",
    "evidence",
    "kind",
    "action",
    "score",
    "risk",
    "simulated",
    "reason",
    "alert_id",
)
DECISIONS = (
    "time",
    "client",
    "model",
    "queries",
    "action",
    "evidence",
    "risk",
    "expires",
    "simulated",
    "reason",
    "revision",
    "decision_id",
    "alert_id",
)
CLIENTS = ("client", "model", "queries", "level", *CHANNELS, NOVELTY)
DEAD_LETTERS = ("source", "line", "reason", "detail")
PER_QUERY = ("client", "model", "event_id", "time", "queries", *CHANNELS, NOVELTY)
PER_EVALUATION = ("client", "model", "time", "queries", NOVELTY, *NAMES)

Documents = Iterable[Mapping[str, Any]]


def _frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], times: Sequence[str] = ()) -> pd.DataFrame:
    frame = pd.DataFrame([[row[name] for name in columns] for row in rows], columns=list(columns))
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def alerts(documents: Documents) -> pd.DataFrame:
    """Return one row an alert; `queries` is the client's count when it was raised, `risk` runs from 0 to 100."""
    rows = [
        {
            "time": alert["@timestamp"],
            "client": alert["user"]["id"],
            "model": alert["service"]["name"],
            "queries": alert["detector"]["queries"],
            "evidence": alert["detector"]["evidence"][0]["name"],
            "kind": alert["detector"]["evidence"][0]["kind"],
            "action": alert["detector"]["action"],
            "score": alert["detector"]["score"],
            "risk": alert["event"]["risk_score"],
            "simulated": alert["detector"]["shadow"],
            "reason": alert["event"]["reason"],
            "alert_id": alert["event"]["id"],
        }
        for alert in documents
    ]
    return _frame(rows, ALERTS, ["time"])


def decisions(documents: Documents, raised: pd.DataFrame) -> pd.DataFrame:
    """Return one row a decision; `queries` is the client's count at the alert behind it, which is looked up in `raised`."""
    count = dict(zip(raised["alert_id"], raised["queries"], strict=True))
    rows = [
        {
            "time": decision["issued_at"],
            "client": decision["subject"]["id"],
            "model": decision["scope"]["models"][0],
            "queries": count[decision["alert_id"]],
            "action": decision["action"],
            "evidence": decision["reason"]["code"].removeprefix("extraction."),
            "risk": decision["risk"]["score"],
            "expires": decision["expires_at"],
            "simulated": decision["simulated"],
            "reason": decision["reason"]["admin"],
            "revision": decision["revision"],
            "decision_id": decision["decision_id"],
            "alert_id": decision["alert_id"],
        }
        for decision in documents
    ]
    return _frame(rows, DECISIONS, ["time", "expires"])


def clients(documents: Documents) -> pd.DataFrame:
    """Return one row a client and model: how far it went, and its highest evidence of every kind."""
    rows = [{**document, **document["evidence"]} for document in documents]
    return _frame(rows, CLIENTS)


def dead_letters(documents: Documents) -> pd.DataFrame:
    """Return one row a record that could not be used; `line` counts from 1."""
    return _frame(list(documents), DEAD_LETTERS)


def _stacked(traces: Sequence[Trace], columns: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Put the columns of each trace under each other; a part has the columns that differ from row to row."""
    if not parts:
        return _frame([], columns)
    lengths = [len(part["queries"]) for part in parts]
    whose = {
        "client": np.repeat(np.array([trace.client for trace in traces], object), lengths),
        "model": np.repeat(np.array([trace.model for trace in traces], object), lengths),
    }
    frame = pd.DataFrame({**whose, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}})
    frame["time"] = pd.to_datetime(frame["time"], unit="ms", utc=True)
    return frame[list(columns)]


def queries(traces: Sequence[Trace]) -> pd.DataFrame:
    """Return one row a query that counted, client by client.

    `queries` is how many the client had sent by then, this one included; each channel's column is the client's evidence so
    far, `novelty` the score where the query led to a scheduled evaluation, else NaN.
    """
    parts = []
    for trace in traces:
        novelty = np.full(len(trace.queries), np.nan)
        novelty[np.searchsorted(trace.queries, trace.evaluations)] = trace.novelty
        parts.append(
            {
                "event_id": np.array(trace.event_ids, object),
                "time": trace.time_ms,
                "queries": trace.queries,
                **{name: trace.peak[:, j].astype(np.float64) for j, name in enumerate(CHANNELS)},
                NOVELTY: novelty,
            }
        )
    return _stacked(traces, PER_QUERY, parts)


def evaluations(traces: Sequence[Trace]) -> pd.DataFrame:
    """Return one row a scheduled evaluation, client by client: the novelty score and the features it was given for."""
    parts = [
        {
            "time": trace.time_ms[np.searchsorted(trace.queries, trace.evaluations)],
            "queries": trace.evaluations,
            NOVELTY: trace.novelty,
            **{name: trace.rows[:, j] for j, name in enumerate(NAMES)},
        }
        for trace in traces
    ]
    return _stacked(traces, PER_EVALUATION, parts)

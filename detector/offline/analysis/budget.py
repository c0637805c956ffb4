"""The budget: the thresholds that keep it, and what moving it would change.

Evidence does not depend on the budget, only the thresholds do. So a log is replayed once, and the thresholds are applied to the
evidence that was kept. One thing is left out: the online trees learn from clients without open evidence, and who these are
depends on the thresholds a little. Novelty scores are those of the run; replay again under the budget that is chosen.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config, PolicySection
from detector.engine.evidence.accumulate import CHANNELS, MAY_STOP
from detector.engine.moment import kind_of
from detector.engine.policy import ACTIONS, ALERT, ALERT_SHARE, BLOCK, BLOCK_SHARE, PERTURB, THROTTLE, thresholds_for
from detector.errors import ConfigError, SourceError
from detector.offline.trace import NOVELTY, Trace

LADDER = ACTIONS[ALERT:]
THRESHOLDS = ("model", "evidence", "kind", "highest_benign", *LADDER)
REACHED = ("client", "model", "queries", "level", "evidence", *LADDER)
STOPPED = ACTIONS[PERTURB]
TRUE, FALSE = {"1", "true", "yes", "t", "y"}, {"0", "false", "no", "f", "n", ""}


def with_budget(
    config: Config, *, false_alerts_per_1000: float | None = None, false_blocks_per_10000: float | None = None
) -> Config:
    """Return the same configuration with another budget of false alarms, per client-day; what is None stays.

    Raises `ConfigError` where a budget is out of range.
    """
    given = {"false_alerts_per_1000": false_alerts_per_1000, "false_blocks_per_10000": false_blocks_per_10000}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        policy = PolicySection.model_validate({**config.policy.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"policy.{first['loc'][0]}: {first['msg']}, not {first['input']!r}") from error
    return config.model_copy(update={"policy": policy})


def thresholds(baseline: Baseline, config: Config) -> pd.DataFrame:
    """Return the thresholds that keep the configured budget: one row for each model and kind of evidence.

    `highest_benign` is the highest score of a calibration client; ``alert``, ``throttle``, ``perturb`` and ``block`` are the
    scores that call for each, NaN where that evidence may not lead there.
    """
    policy = engine_settings(config).policy
    rows = []
    for model, known in baseline.models.items():
        found = thresholds_for(policy, known.norms.session_scores, known.channel_scores, known.reviewed)
        for j, name in enumerate(CHANNELS):
            shares = {ALERT: ALERT_SHARE, **({PERTURB: 1.0, BLOCK: BLOCK_SHARE} if MAY_STOP[j] else {THROTTLE: 1.0})}
            heights = {ACTIONS[a]: share * found.stop[j] for a, share in shares.items() if a <= found.limit[j]}
            rows.append((model, name, kind_of(j), float(known.channel_scores[:, j].max()), heights))
        heights = {ACTIONS[ALERT]: found.alert, ACTIONS[THROTTLE]: found.throttle}
        rows.append((model, NOVELTY, "novelty", float(known.norms.session_scores.max()), heights))
    return pd.DataFrame(
        [[*row, *(heights.get(action, np.nan) for action in LADDER)] for *row, heights in rows], columns=list(THRESHOLDS)
    )


def reached(traces: Iterable[Trace]) -> pd.DataFrame:
    """Return how far each client went: one row a client and model.

    `level` is the hardest action that was called for and `evidence` what first called for it; each action's column is the
    number of queries after which that action, or a harder one, was first called for, missing where it never was.
    """
    rows = []
    for trace in traces:
        first: dict[str, int] = {}
        level, evidence = 0, None
        for escalation in trace.escalations:
            action = ACTIONS.index(escalation.action)
            for name in ACTIONS[ALERT : action + 1]:
                first.setdefault(name, escalation.query)
            if action > level:
                level, evidence = action, escalation.name
        rows.append(
            [trace.client, trace.model, len(trace.queries), ACTIONS[level], evidence, *(first.get(name) for name in LADDER)]
        )
    frame = pd.DataFrame(rows, columns=list(REACHED))
    return frame.astype(dict.fromkeys(LADDER, "Int64"))


def trade_off(tables: Sequence[tuple[Config, pd.DataFrame]], labels: Mapping[str, bool]) -> pd.DataFrame:
    """Return detections against false alarms: one row for each budget, with what `reached` says under it.

    Clients without a label are left out. ``queries_to_stop`` is the median over the thieves who were stopped.
    """
    rows = []
    for config, table in tables:
        labelled = table[table["client"].isin(list(labels))]
        least = labelled.groupby("client")[list(LADDER)].min()
        hostile = least.index.map(labels).to_numpy(dtype=bool)
        thieves, innocents = least[hostile], least[~hostile]
        rows.append(
            {
                "false_alerts_per_1000": config.policy.false_alerts_per_1000,
                "false_blocks_per_10000": config.policy.false_blocks_per_10000,
                "thieves": len(thieves),
                "thieves_alerted": int(thieves[ACTIONS[ALERT]].notna().sum()),
                "thieves_throttled": int(thieves[ACTIONS[THROTTLE]].notna().sum()),
                "thieves_stopped": int(thieves[STOPPED].notna().sum()),
                "queries_to_alert": _median(thieves[ACTIONS[ALERT]]),
                "queries_to_stop": _median(thieves[STOPPED]),
                "innocents": len(innocents),
                "innocents_alerted": int(innocents[ACTIONS[ALERT]].notna().sum()),
                "innocents_throttled": int(innocents[ACTIONS[THROTTLE]].notna().sum()),
                "innocents_stopped": int(innocents[STOPPED].notna().sum()),
            }
        )
    return pd.DataFrame(rows)


def _median(counts: "pd.Series[int]") -> float:
    there = counts.dropna().to_numpy(dtype=float)
    return float(np.median(there)) if len(there) else float("nan")


def read_labels(path: str | Path) -> dict[str, bool]:
    """Read who is a thief: a client's id to whether it is one.

    The file is CSV with the columns ``client`` and ``hostile`` (1 or 0, true or false, yes or no), or JSON Lines of objects
    with these keys, as `detector redteam run` writes beside its log. A client that is named more than once is a thief if it is
    one anywhere.

    Raises `SourceError` when the file cannot be read, naming the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot read the labels: {error}") from error
    labels: dict[str, bool] = {}
    lines = text.splitlines()
    if text.lstrip().startswith("{"):
        rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        for number, line in rows:
            try:
                entry = json.loads(line)
                client, hostile = str(entry["client"]), entry["hostile"]
            except (ValueError, KeyError, TypeError) as error:
                raise SourceError(f"{path}:{number}: not an object with client and hostile") from error
            if not isinstance(hostile, bool):
                raise SourceError(f"{path}:{number}: hostile must be true or false, not {hostile!r}")
            labels[client] = labels.get(client, False) or hostile
        return labels
    reader = csv.DictReader(lines)
    if not {"client", "hostile"} <= set(reader.fieldnames or ()):
        raise SourceError(f"{path}:1: the columns client and hostile are needed")
    for row in reader:
        said = (row["hostile"] or "").strip().lower()
        if said not in TRUE | FALSE:
            raise SourceError(f"{path}:{reader.line_num}: hostile must be 1 or 0, not {row['hostile']!r}")
        labels[row["client"]] = labels.get(row["client"], False) or said in TRUE
    return labels

"""The report of `detector baseline show`: what was learned from which clients, and the thresholds that follow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.baseline import doubts
from detector.baseline import store as baselines
from detector.baseline.price import learned, prices, tell_prices
from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.evidence.channel import Weighed
from detector.engine.evidence.registry import REGISTRY
from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.drift import ALARM, Drift
from detector.engine.models.profiles import STAGES, stage_of
from detector.engine.policy import ALERT, ALERT_SHARE, thresholds_for
from detector.names import one_line, printable

SHOWN_STAGE = 64


def report(folder: Path, config: Config, drift: Mapping[str, Drift] | None = None) -> dict[str, Any]:
    """Return what a baseline holds, as plain data; with `drift`, how well the clients of a log fit it.

    Raises `BaselineError` when there is none.
    """
    baseline = baselines.load(folder, config.engine.secret())
    policy = engine_settings(config).policy
    models = {}
    for model, known in baseline.models.items():
        notes = dict(baseline.notes[model])
        notes.setdefault("accepted", [])
        notes.setdefault("set_aside", [])
        thresholds = thresholds_for(policy, known.norms.session_scores, known.channel_scores, known.reviewed)
        stage = stage_of(SHOWN_STAGE)
        clients = notes["calibration_clients"]
        models[model] = {
            **notes,
            "bars": {
                "novelty_alert": round(thresholds.alert, 3),
                "novelty_throttle": round(thresholds.throttle, 3),
                **{f"{name}_stop": round(stop, 3) for name, stop in zip(CHANNELS, thresholds.stop, strict=True)},
            },
            "only_alerts": [name for name, limit in zip(CHANNELS, thresholds.limit, strict=True) if limit == ALERT],
            "copy": []
            if known.reference_set is None or config.cost.price_per_1000 is None
            else prices(learned(known.reference_set), config.cost, policy),
            "finest_rate_shown": f"1 in {clients + 1}",
            "features": {
                name: [round(float(value), 4) for value in known.norms.quantiles[stage, j]]
                for j, name in enumerate(NAMES)
                if j >= CONTENT.start
            },
        }
    return {
        "version": baseline.version,
        "path": str(folder),
        "features_at": int(STAGES[stage_of(SHOWN_STAGE)]),
        "models": models,
        "drift": None if drift is None else {model: found.to_dict() for model, found in drift.items()},
    }


def changes(before: Baseline, after: Baseline, model: str, config: Config) -> list[str]:
    """Return what an acceptance changed, in sentences: each accepted client, and every threshold that moved."""
    policy = engine_settings(config).policy
    was, now = (
        thresholds_for(policy, known.norms.session_scores, known.channel_scores, known.reviewed)
        for known in (before.models[model], after.models[model])
    )
    told = []
    for entry in after.notes[model]["accepted"][len(before.notes[model].get("accepted", [])) :]:
        usual = " (it was usual already)" if entry["novelty_before"] < was.alert else ""
        told.append(
            f"{printable(entry['client'])}: novelty {entry['novelty']:.2f} of up to {now.alert:.2f}, before "
            f"{entry['novelty_before']:.2f} of up to {was.alert:.2f}{usual}"
        )
    for j, channel in enumerate(REGISTRY):
        if now.limit[j] != was.limit[j]:
            told.append(f"{channel.name} may only alert from now on: a client that was reviewed has passed its floor")
        elif now.stop[j] > was.stop[j]:
            told.append(
                f"{channel.name} {'stops' if channel.may_stop else 'throttles'} at {now.stop[j]:.1f}, before at "
                f"{was.stop[j]:.1f}: that holds for all clients of this model"
            )
    for j, channel in enumerate(REGISTRY):
        if isinstance(channel.ratio, Weighed) and now.stop[j] > was.stop[j]:
            least = int(ALERT_SHARE * now.stop[j] / channel.ratio.most)
            told.append(f"a client with {channel.ratio.carriers} alone is alerted on after {least:,} of them at the earliest")
    return told


def tell(content: dict[str, Any]) -> Group:
    """Return the report for a terminal."""
    parts: list[Any] = [Text(one_line(f"baseline {content['version']} in {content['path']}"), style="bold")]
    for model, known in content["models"].items():
        how = (
            f"{known['teaching_clients']} taught the input space, {known['calibration_clients']} others calibrated"
            if known["split"]
            else f"too few to split: all of them taught and calibrated ({known['calibration_clients']} were "
            "evaluated), so the thresholds are optimistic"
        )
        parts.append(
            Text(
                f"\nmodel {printable(model)}: {known['queries']:,} queries of {known['clients']:,} clients ({how}); inputs of "
                f"{known['dimension']} values, {known['labels']} labels, {known['profiles']} profiles of clients"
            )
        )
        thresholds = Table(title="thresholds under the configured budgets", title_justify="left")
        thresholds.add_column("evidence")
        thresholds.add_column("highest of a benign client", justify="right")
        thresholds.add_column("alerts at", justify="right")
        thresholds.add_column("acts at", justify="right")
        highest = known["novelty_scores"][0] if known["novelty_scores"] else 0.0
        found = known["bars"]
        thresholds.add_row(
            "novelty", f"{highest:.2f}", f"{found['novelty_alert']:.2f}", f"{found['novelty_throttle']:.2f} throttle"
        )
        for channel in REGISTRY:
            stop = found[f"{channel.name}_stop"]
            acts = "stop" if channel.may_stop else "throttle"
            benign = known["evidence"][channel.name]
            thresholds.add_row(channel.name, f"{benign:.1f}", f"{ALERT_SHARE * stop:.1f}", f"{stop:.1f} {acts}")
        parts.append(thresholds)
        parts += [Text(f"{name} may only alert here: innocent clients passed its floor") for name in known["only_alerts"]]
        parts += [Text(f"warning: {sentence}", style="yellow") for sentence in doubts.tell(known)]
        parts.append(
            Text(
                f"{known['calibration_clients']} clients can show a false-alarm rate of {known['finest_rate_shown']} at best; "
                "for a finer budget the thresholds are raised above their scores."
            )
        )
        if known["copy"]:
            parts.append(Text("to somebody who asks what benign clients ask, and is told labels:"))
            parts += [Text(f"  {sentence}") for sentence in tell_prices(known["copy"])]
        named = ", ".join(f"{printable(name)} ({score:.1f})" for name, score in known["clients_with_most_evidence"].items())
        parts.append(Text(f"clients with most evidence, to review before trusting this baseline: {named}"))
        for entry in known["accepted"]:
            despite = ", despite evidence of construction" if entry["despite_construction"] else ""
            parts.append(
                Text(
                    f"accepted: {printable(entry['client'])} after {entry['queries']:,} queries, by "
                    f"{printable(entry['actor'])} at {entry['at']}{despite}: {one_line(entry['reason'])}"
                )
            )
        features = Table(title=f"features of benign clients after {content['features_at']} queries", title_justify="left")
        features.add_column("feature")
        for column in ("5%", "50%", "95%"):
            features.add_column(column, justify="right")
        for name, values in known["features"].items():
            features.add_row(name, *(f"{value:.3g}" for value in values))
        parts.append(features)
    if content["drift"] == {}:
        parts.append(Text("no client of the log asked a model of this baseline"))
    for model, found in (content["drift"] or {}).items():
        parts.append(_drift_table(model, found))
    return Group(*parts)


def _drift_table(model: str, found: Mapping[str, Any]) -> Table:
    verdict = "the calibration fits" if found["fits"] else "the calibration no longer fits"
    table = Table(
        title=f"model {printable(model)}: {verdict}; evidence of drift {found['evidence']:.1f} over "
        f"{found['clients']:,} clients",
        title_justify="left",
        caption=(
            f"distance: 0 as in calibration, 1 nothing in common; evidence: a decimal logarithm, chance alone reaches "
            f"{ALARM:.0f} in at most 1 of 1,000 logs"
        ),
        caption_justify="left",
    )
    table.add_column("feature", no_wrap=True)
    table.add_column("newcomers")
    for column in ("distance", "evidence", "queries", "clients"):
        table.add_column(column, justify="right")
    for shift in found["features"]:
        table.add_row(
            shift["feature"],
            shift["to"],
            f"{shift['distance']:.2f}",
            f"{shift['evidence']:.1f}",
            str(shift["queries"]),
            f"{shift['clients']:,}",
        )
    return table

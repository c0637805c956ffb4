"""What `detector baseline show` tells: what was learned from whom, and which bars follow."""

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from detector.config import Config
from detector.evidence.accumulate import CHANNELS
from detector.features import CONTENT, NAMES
from detector.models import baseline as baselines
from detector.models.novelty import STAGES, stage_of
from detector.policy import ALERT_SHARE, bars_for

SHOWN_STAGE = 64


def report(folder: Path, config: Config) -> dict[str, Any]:
    """Return what a baseline holds, as plain data.

    Raises `BaselineError` when there is none.
    """
    baseline = baselines.load(folder)
    terms = config.engine_settings().terms
    models = {}
    for model, known in baseline.models.items():
        notes = dict(baseline.notes[model])
        notes.pop("file", None)
        bars = bars_for(terms, known.norms.session_scores, known.channel_scores)
        stage = stage_of(SHOWN_STAGE)
        clients = notes["calibration_clients"]
        models[model] = {
            **notes,
            "bars": {
                "novelty_alert": round(bars.alert, 3),
                "novelty_throttle": round(bars.throttle, 3),
                **{f"{name}_stop": round(stop, 3) for name, stop in zip(CHANNELS, bars.stop, strict=True)},
            },
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
    }


def tell(content: dict[str, Any]) -> Group:
    """Return the report for a terminal."""
    parts: list[Any] = [Text(f"baseline {content['version']} in {content['path']}", style="bold")]
    for model, known in content["models"].items():
        how = (
            f"{known['teaching_clients']} taught the input space, {known['calibration_clients']} others calibrated"
            if known["split"]
            else f"too few to split: all of them taught and calibrated ({known['calibration_clients']} with a look), "
            "so the bars are optimistic"
        )
        parts.append(
            Text(
                f"\nmodel {model}: {known['queries']:,} queries of {known['clients']:,} clients ({how}); inputs of "
                f"{known['dimension']} values, {known['labels']} labels, {known['profiles']} profiles of clients"
            )
        )
        bars = Table(title="bars under the configured budgets", title_justify="left")
        bars.add_column("evidence")
        bars.add_column("highest of a benign client", justify="right")
        bars.add_column("alerts at", justify="right")
        bars.add_column("acts at", justify="right")
        highest = known["novelty_scores"][0] if known["novelty_scores"] else 0.0
        found = known["bars"]
        bars.add_row("novelty", f"{highest:.2f}", f"{found['novelty_alert']:.2f}", f"{found['novelty_throttle']:.2f} throttle")
        for name in CHANNELS:
            stop = found[f"{name}_stop"]
            bars.add_row(name, f"{known['evidence'][name]:.1f}", f"{ALERT_SHARE * stop:.1f}", f"{stop:.1f} stop")
        parts.append(bars)
        parts.append(
            Text(
                f"{known['calibration_clients']} clients can show a false-alarm rate of {known['finest_rate_shown']} at best; "
                "for a finer budget the bars are raised beyond the highest client."
            )
        )
        named = ", ".join(f"{name} ({score:.1f})" for name, score in known["clients_with_most_evidence"].items())
        parts.append(Text(f"clients with most evidence, to review before trusting this baseline: {named}"))
        features = Table(title=f"features of benign clients after {content['features_at']} queries", title_justify="left")
        features.add_column("feature")
        for column in ("5%", "50%", "95%"):
            features.add_column(column, justify="right")
        for name, values in known["features"].items():
            features.add_row(name, *(f"{value:.3g}" for value in values))
        parts.append(features)
    return Group(*parts)

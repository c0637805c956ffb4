"""The second run: the logs of a folder of results through the engine once more, with an eye on one client."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from detector.baseline.price import copy_of
from detector.baseline.settings import engine_settings
from detector.baseline.store import NO_BASELINE, Baseline
from detector.config import Config
from detector.contracts.moment import rfc3339
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.models.profiles import STAGES, stage_of
from detector.engine.policy import ACTIONS
from detector.errors import SourceError
from detector.names import printable
from detector.offline.explain.again import replayed
from detector.offline.explain.case import channel_case, feature_figures, harm_case, novelty_case
from detector.offline.explain.explanation import DecisionTaken, Explanation
from detector.offline.explain.remarks import addresses_of, advice_for, headline_of, refused_sentence, warnings_about
from detector.offline.explain.results import decisions_of, find_client, read_lines, summary_of
from detector.offline.replay import Progress
from detector.offline.trace import Trace, Tracer
from detector.sinks.render import cost_of, odometer_of


def explain(
    client: str,
    model: str | None,
    folder: Path,
    config: Config,
    baseline: Baseline | None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain a client of the results in `folder`, which a replay (or the demo) wrote.

    `model` may be None if the client used one model only. `config` and `baseline` should be those of the run; if their
    versions differ the explanation holds for what they say now, and warns.

    Raises `SourceError` when the folder holds no complete results, the client is not in them, the model must be named, or a
    log is gone.
    """
    summary = summary_of(folder)
    model, recorded = find_client(client, model, folder)
    known = baseline.models if baseline else {}
    settings = engine_settings(config)
    tracer = Tracer(known, settings.policy, {client})
    with replayed(summary, folder, config, baseline, progress=progress, observer=tracer) as (done, again):
        found = [line for line in read_lines(again / "clients.jsonl") if (line["client"], line["model"]) == (client, model)]
    if not found:
        raise SourceError(
            f"client {printable(client)!r} is in {folder} but its logs do not name it now: "
            "give the configuration of that run with --config, or replay the logs again"
        )
    now = max(found, key=lambda line: (ACTIONS.index(line["level"]), int(line["queries"])))
    try:
        trace = tracer.trace(client, model, address=now.get("address"))
    except KeyError as error:
        raise SourceError(
            f"client {printable(client)!r}: {refused_sentence(now) or 'no query was counted'}, so nothing is known of it"
        ) from error
    return describe(
        tracer,
        trace,
        level=str(now["level"]),
        decisions=decisions_of(folder, client, model, tracer.end_ms),
        warnings=[
            *addresses_of(now, found),
            *warnings_about(summary, config, baseline, model, recorded, now, done.problems, trace),
        ],
        config=config,
        baseline=baseline,
    )


def describe(
    tracer: Tracer,
    trace: Trace,
    *,
    level: str,
    decisions: Iterable[DecisionTaken],
    warnings: Iterable[str],
    config: Config,
    baseline: Baseline | None,
) -> Explanation:
    """Return the explanation of a client whose trace is at hand; `level` is the highest that the engine reports of it."""
    known = baseline.models if baseline else {}
    model = trace.model
    taken = tuple(decisions)
    harm = harm_case(trace)
    cases = (*(channel_case(trace, j) for j in range(len(CHANNELS))), novelty_case(trace), *([] if harm is None else [harm]))
    reference = known[model].reference if model in known else None
    held = trace.odometer[-1] if trace.odometer else None
    return Explanation(
        client=trace.client,
        model=model,
        headline=headline_of(cases, level, len(trace.queries)),
        level=level,
        queries=len(trace.queries),
        first=rfc3339(int(trace.time_ms.min())),
        last=rfc3339(int(trace.time_ms.max())),
        cases=cases,
        decisions=taken,
        look=int(trace.evaluations[-1]) if len(trace.evaluations) else 0,
        stage=int(STAGES[stage_of(int(trace.evaluations[-1]))]) if reference is not None and len(trace.evaluations) else None,
        features=feature_figures(trace, known.get(model)),
        advice=tuple(advice_for(trace, config, taken)),
        warnings=tuple(warnings),
        odometer=held,
        cost=cost_of(
            None if held is None else odometer_of(held),
            config.cost,
            len(trace.queries),
            copy_of(known[model].reference_set, config.cost, engine_settings(config).policy) if model in known else None,
        ),
        baseline_version=baseline.version if baseline else NO_BASELINE,
        config_version=config.version,
        trace=trace,
        population=(reference.landmarks.T if reference else tracer.others(model)).astype(np.float64),
        population_name="centre of the benign population" if reference else "query of another client",
        unit=reference.unit if reference else None,
    )

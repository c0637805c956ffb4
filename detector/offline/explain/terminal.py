"""The explanation for a terminal, also readable where its output is piped."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detector.baseline.price import amount, told_price
from detector.contracts.alert import Cost
from detector.engine.memory.admission import evaluation_after
from detector.engine.memory.metered import FIRST_READING
from detector.engine.policy import PATIENCE
from detector.names import printable
from detector.offline.explain.explanation import Case, Explanation, FeatureFigure
from detector.offline.explain.stops import limit_of
from detector.offline.explain.words import count
from detector.offline.trace import NOVELTY

SHOWN_FEATURES = 8
WIDE = 110


def tell(explanation: Explanation) -> RenderableType:
    """Return the explanation for a terminal (rich), also readable where its output is piped."""
    e = explanation
    parts: list[RenderableType] = [
        Text.assemble((printable(e.client), "bold"), " on model ", (printable(e.model), "bold")),
        Text(e.headline, "bold" if any(case.steps for case in e.cases) else ""),
        Text(
            f"{count(e.queries, 'query')}, {_clock(e.first)} to {_clock(e.last)}; highest level: {e.level}; "
            f"baseline {e.baseline_version}, configuration {e.config_version}"
        ),
    ]
    parts += [Text(f"Warning: {warning}.", "yellow") for warning in e.warnings]
    parts += [Text(), _heading("Evidence")]
    for case in sorted(e.cases, key=lambda case: -case.share):
        parts += _tell_case(case, e)
    parts += [Text(), _heading("Odometer"), _tell_odometer(e)]
    parts += [] if e.cost is None else _tell_paid(e.cost)
    parts += [Text(), _heading("Decisions"), *_tell_decisions(e)]
    parts += [Text(), _heading("Features"), *_tell_features(e)]
    parts += [Text(), _heading("What to do"), *(_indented(line, 2) for line in e.advice)]
    return Group(*parts)


def _heading(text: str) -> Text:
    return Text(text, "bold underline")


def _clock(time: str) -> str:
    return f"{time[:10]} {time[11:19]} UTC" if time.endswith("Z") else time


def _indented(text: str, depth: int = 4) -> Padding:
    return Padding(Text(text), (0, 0, 0, depth), expand=False)


def _tell_case(case: Case, explanation: Explanation) -> Iterator[RenderableType]:
    thresholds = ", ".join(f"{action} at {height:.4g}" for action, height in case.thresholds.items())
    if not case.steps:
        yield _indented(
            f"{case.name}: {case.score:.4g}, {100 * case.share:.0f}% of the way to its first threshold ({thresholds})", 2
        )
        if case.name == NOVELTY and explanation.look == 0:
            yield _indented(f"it is first measured at {evaluation_after(0)} queries")
        elif case.score:
            yield _indented(f"it would mean: {case.meaning}")
        return
    yield Padding(Text.assemble((case.name, "bold"), f": {case.meaning}"), (0, 0, 0, 2), expand=False)
    latest = "" if case.now == case.score else f", {case.now:.4g} at the latest evaluation"
    yield _indented(f"score {case.score:.4g}{latest}; {thresholds}")
    for step in case.steps:
        yield _indented(f"{step.action} called for at query {step.query:,}, {_clock(step.time)}, score {step.score:.4g}")
    if case.kind == "novelty":
        total = len(explanation.trace.evaluations)
        again = f"; {PATIENCE} evaluations in a row beyond it throttle as well" if "throttle" in case.thresholds else ""
        yield _indented(f"{case.carried} of {count(total, 'evaluation')} lay beyond the alert threshold{again}")
        if explanation.stage is not None and not any(f.judged and f.side != "within" for f in explanation.features):
            yield _indented("no feature alone is outside its benign range at the latest evaluation: their combination is")
    elif case.kind == "construction":
        yield _indented(f"carried by {case.carried:,} of {count(explanation.queries, 'query')}; the latest of them:")
    for example in case.examples:
        near = ""
        if example.nearest_event_id is not None:
            near = f", nearest to {printable(example.nearest_event_id)} (query {example.nearest_query:,})"
        yield _indented(f"{printable(example.event_id)} (query {example.query:,}){near}", 6)
    yield _indented(f"innocent traffic that looks the same: {case.lookalike}")


def _tell_odometer(explanation: Explanation) -> RenderableType:
    held = explanation.odometer
    if held is None:
        return _indented(f"not read: there are fewer than {FIRST_READING} queries, or the baseline has no reference inputs", 2)
    told = (
        f"lead {held.lead:.2f} ({held.low:.2f} to {held.high:.2f}), read after {count(held.queries, 'query')}: a copy learned "
        f"from what the client was told agrees with the model on {held.agreement:.0%} of the reference inputs"
    )
    cost = explanation.cost
    if cost is not None and cost.leaked is not None:
        told += f"; that is worth {cost.leaked:,.2f} {cost.currency} ({cost.low:,.2f} to {cost.high:,.2f})"
    return _indented(told, 2)


def _tell_paid(cost: Cost) -> Iterator[RenderableType]:
    """Tell what the client paid, beside what a copy costs."""
    if cost.paid is not None:
        yield _indented(f"its queries cost {amount(cost.paid)} {cost.currency}", 2)
    if (price := cost.price) is not None:
        paid, queries = told_price(price.amount, cost.currency, price.queries, reached=price.reached)
        yield _indented(
            f"a copy with lead {price.lead:.2f} costs {paid} ({queries}) whoever asks what benign clients ask and is told "
            f"labels; policy would {price.action} meanwhile",
            2,
        )


def _tell_decisions(explanation: Explanation) -> Iterator[RenderableType]:
    if not explanation.decisions:
        yield _indented("none", 2)
    for decision in explanation.decisions:
        until = f"until {_clock(decision.expires)}" if decision.expires else "until lifted"
        state = "in force when the log ends" if decision.standing else "over or replaced when the log ends"
        yield _indented(
            f"{decision.action} by {decision.origin}, {_clock(decision.issued)} {until}, because of "
            f"{decision.code.removeprefix('extraction.')}; {state}{', simulated' if decision.simulated else ''}",
            2,
        )
        if (limit := limit_of(decision)) is not None:
            yield _indented(f"in place of a stop: {limit}")


def _tell_features(explanation: Explanation) -> Iterator[RenderableType]:
    e = explanation
    if not e.look:
        yield _indented(f"none yet: the first evaluation comes at {evaluation_after(0)} queries", 2)
        return
    if e.stage is None:
        yield _indented(
            f"at the evaluation after {e.look:,} queries; without a baseline there is nothing to compare them with", 2
        )
    else:
        yield _indented(
            f"at the evaluation after {e.look:,} queries, against benign clients after {e.stage:,} (5%, median, 95%); "
            "the most unusual first, away in standard deviations",
            2,
        )
    outside = [figure for figure in e.features if figure.judged and figure.side != "within"]
    within = [figure for figure in e.features if figure.judged and figure.side == "within"]
    shown = [*outside, *within[: max(SHOWN_FEATURES - len(outside), 0)]] if e.stage is not None else list(e.features)
    yield _FeatureTable(tuple(shown), compared=e.stage is not None)
    rest = len([figure for figure in e.features if figure.judged]) - len(shown)
    if e.stage is not None:
        timing = ", ".join(f"{figure.name} {figure.side}" for figure in e.features if not figure.judged)
        more = f"{rest} more are within; " if rest > 0 else ""
        yield _indented(f"{more}timing, which never counts against the baseline: {timing}", 2)


@dataclass(frozen=True, slots=True)
class _FeatureTable:
    """Feature figures as a table; on a narrow terminal the meanings follow below it."""

    figures: tuple[FeatureFigure, ...]
    compared: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("  feature")
        for column in ("value", "5%", "median", "95%", "away") if self.compared else ("value",):
            table.add_column(column, justify="right")
        for column in [""] * self.compared + ["meaning"] * wide:
            table.add_column(column)
        for figure in self.figures:
            cells: list[RenderableType] = [f"  {figure.name}", f"{figure.value:.3g}"]
            if self.compared:
                cells += [f"{quantile:.3g}" for quantile in (figure.low, figure.median, figure.high)]
                cells += [f"{figure.away:+.1f}", Text(figure.side, "" if figure.side == "within" else "bold")]
            table.add_row(*cells, *[figure.meaning] * wide)
        yield table
        if not wide:
            yield from (_indented(f"{figure.name}: {figure.meaning}") for figure in self.figures)

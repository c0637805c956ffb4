"""The table for readers: cells as Markdown.

Everything here is made from the cells alone, so a table can be written again from the lines that were published.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.quality.cells import share
from tests.quality.matches import OURS
from tests.quality.published.registry import PUBLISHED

Cell = dict[str, Any]
ACTIONS = ("stop", "throttle", "alert")

LEGEND = """\
A theft is *met* when the action came within the target's number of queries, counted from the first query that the thief made
up. Shares are of thieves or of innocent clients, with Wilson intervals of 95%. *Queries* is the median number the thief had
asked, in brackets those he had made up; *copy* how well the best copy trained on the answers until then agrees with the model,
against what the whole budget buys. Of published detectors the share at their calibrated threshold comes first, then that at the
published one: `0 / 100`. They are calibrated on the same clients as ours; a dash says that they cannot be used there. Beside
thieves with 2,000 queries look at innocents with as many (`long`): a count that only grows meets everybody who stays.
"""


def markdown(cells: Sequence[Cell], note: str = "") -> str:
    """Write the table of finished cells; `note` says how it was made."""
    thefts = [cell for cell in cells if cell["kind"] == "theft"]
    innocents = [cell for cell in cells if cell["kind"] == "innocence"]
    parts = ["# Detection quality", note, LEGEND, _overview(thefts, innocents)]
    for world in dict.fromkeys(f"{cell['data']}-{cell['victim']}" for cell in cells):
        here = [cell for cell in thefts if f"{cell['data']}-{cell['victim']}" == world]
        benign = [cell for cell in innocents if f"{cell['data']}-{cell['victim']}" == world]
        if here:
            parts += [f"## {world}: thefts", _thefts(here)]
        if benign:
            parts += [f"## {world}: innocents", _innocents(benign)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def rows(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the first column is text, the others are numbers.

    >>> print(rows(["cell", "share"], [["jbda", "100"]]))
    | cell | share |
    |---|---:|
    | jbda | 100 |
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    written[1] = written[1].replace(" ", "")
    return "\n".join(written)


def _overview(thefts: Sequence[Cell], innocents: Sequence[Cell]) -> str:
    parts = []
    for title, chosen in (("Thefts", thefts), ("Innocents", innocents)):
        promised = [cell for cell in chosen if cell["goal" if cell["kind"] == "theft" else "limits"]["promised"]]
        if chosen:
            missed = [f"`{cell['id']}`" for cell in promised if not cell["kept"]]
            parts.append(
                f"{title}: {len(chosen)} cells, {len(promised)} with a promise, of which {len(missed)} "
                f"{'is' if len(missed) == 1 else 'are'} not kept{': ' + ', '.join(missed) if missed else ''}."
            )
    if thefts:
        parts.append(_by_cover(thefts))
    if innocents:
        parts.append(_by_part(innocents))
    return "\n\n".join(parts)


def _by_cover(thefts: Sequence[Cell]) -> str:
    """Mean share found ever, over all attacks of one data set that were tried under every cover."""
    covers = sorted({cell["cover"] for cell in thefts if cell["accounts"] == 1})
    single = [cell for cell in thefts if cell["accounts"] == 1 and set(cell["disguise"]) <= {"cover", "accounts"}]
    widest = {(c["data"], c["victim"], c["attack"]) for c in single if c["cover"] == covers[-1]}
    chosen = [cell for cell in single if (cell["data"], cell["victim"], cell["attack"]) in widest]
    names = _names(chosen)
    body = []
    for name in names:
        line = [f"`{name}`"]
        for cover in covers:
            found = [
                cell["detectors"][name]["ever"]["share"]
                for cell in chosen
                if cell["cover"] == cover and name in cell["detectors"]
            ]
            line.append(f"{100 * sum(found) / len(found):.0f}" if found else "-")
        body.append(line)
    head = "Thieves ever met, % (mean over the attacks that were played under every share of cover):"
    return f"{head}\n\n{rows(['detector', *(f'cover {100 * cover:.0f}%' for cover in covers)], body)}"


def _by_part(innocents: Sequence[Cell]) -> str:
    parts = [part for part in ("known", "left-out", "frozen", "later") if any(cell["part"] == part for cell in innocents)]
    body = []
    for name in _names(innocents):
        line = [f"`{name}`"]
        for part in parts:
            chosen = [cell for cell in innocents if cell["part"] == part and name in cell["detectors"]]
            counts = [(cell["detectors"][name]["false"]["count"], cell["sessions"]) for cell in chosen]
            total = share(sum(c for c, _ in counts), sum(n for _, n in counts)) if counts else None
            line.append("-" if total is None else f"{_percent(total)} of {sum(n for _, n in counts)}")
        body.append(line)
    return f"Innocents ever met, %:\n\n{rows(['detector', *parts], body)}"


def _names(cells: Sequence[Cell]) -> list[str]:
    names = [f"{OURS}/{action}" for action in ACTIONS]
    names += [f"{detector}/{kind}" for detector in PUBLISHED for kind in ("calibrated", "published")]
    return [name for name in names if any(name in cell["detectors"] for cell in cells)]


def _thefts(cells: Sequence[Cell]) -> str:
    header = ["cell", "target", "in time", "stopped", "queries", "alerted", "queries", "copy", *_published()]
    body = []
    for cell in cells:
        goal, found = cell["goal"], cell["detectors"]
        stop, alert = found[f"{OURS}/stop"], found[f"{OURS}/alert"]
        aimed = f"{goal['action']} {100 * goal['share']:.0f}% in {goal['within']}" if goal["share"] else "-"
        at = found[f"{OURS}/{goal['action']}"]
        body.append(
            [
                _short(cell["id"]),
                aimed + ("" if goal["promised"] or not goal["share"] else " (aim)"),
                _percent(at["within"]) + ("" if cell["met"] else " **missed**"),
                _percent(stop["ever"]),
                _queries(stop),
                _percent(alert["ever"]),
                _queries(alert),
                f"{_whole(at['copy'])} of {_whole(cell['copy_whole'])}",
                *(_pair(cell, detector, "ever") for detector in PUBLISHED),
            ]
        )
    return rows(header, body)


def _innocents(cells: Sequence[Cell]) -> str:
    header = ["cell", "clients", "limits", "alerted", "throttled", "stopped", "by", *_published()]
    body = []
    for cell in cells:
        limits, found = cell["limits"], cell["detectors"]
        reasons = {name for names in cell["evidence"].values() for name in names}
        body.append(
            [
                _short(cell["id"]),
                str(cell["sessions"]),
                " / ".join(f"{100 * limits[action]:.0f}" for action in reversed(ACTIONS))
                + ("" if cell["met"] else " **passed**"),
                *(_percent(found[f"{OURS}/{action}"]["false"]) for action in reversed(ACTIONS)),
                ", ".join(sorted(reasons)) or "-",
                *(_pair(cell, detector, "false") for detector in PUBLISHED),
            ]
        )
    return rows(header, body)


def _published() -> list[str]:
    return [one.title for one in PUBLISHED.values()]


def _short(cell_id: str) -> str:
    return cell_id.split(".", 1)[1]


def _percent(found: dict[str, Any]) -> str:
    return f"{100 * found['share']:.0f} [{100 * found['low']:.0f}, {100 * found['high']:.0f}]"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


def _queries(found: dict[str, Any]) -> str:
    asked, made = found["queries"]["median"], found["synthetic"]["median"]
    return "-" if asked is None else f"{asked:.0f} ({made:.0f})"


def _pair(cell: Cell, detector: str, key: str) -> str:
    if f"{detector}/calibrated" not in cell["detectors"]:
        return "-"
    both = (cell["detectors"][f"{detector}/{kind}"][key]["share"] for kind in ("calibrated", "published"))
    return " / ".join(f"{100 * value:.0f}" for value in both)

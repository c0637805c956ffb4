"""The report on a suspect: for people in Markdown, for scripts in JSON."""

import datetime as dt
import json
from pathlib import Path
from typing import Any, Final

from detector import private
from detector.contracts.moment import rfc3339
from detector.errors import OutputError
from detector.names import counted, one_line
from detector.ownership.picture import draw_row
from detector.ownership.verify import NAMED, Row, Verified

__all__ = ["LIMITS", "NOT_PROVABLE", "sentences", "to_dict", "write_report"]

NOT_PROVABLE: Final = "not provable: the key was not committed"
SMALLEST: Final = 50  # pictures are drawn of so many keys

LIMITS: Final = (
    (
        "The p-value is the chance that a suspect who never saw these answers fits the key as well. It speaks of answers given "
        "to these accounts having been copied, not of who did it or why. What it is worth in law is for counsel."
    ),
    (
        "A thief who lets neighbours vote on the labels, or averages the answers of ten accounts that have a key each, washes "
        "a mark thin: a p-value above the bar does not acquit."
    ),
)


def sentences(found: Verified) -> list[str]:
    """Return what was found, in plain sentences, the heading first where it is no proof."""
    said = []
    if found.unprovable is not None:
        said += [NOT_PROVABLE, f"Why: {found.unprovable}."]
    said += [_about(row) for row in found.rows]
    said.append(
        f"{counted(found.queries, 'query', 'queries')}, {counted(found.counterfeits, 'counterfeit key')}; "
        f"{counted(found.keys, 'key')} tested, every p-value multiplied by "
        f"{found.tests} for the tests that were made."
    )
    floor = found.tests / (1 + found.counterfeits)
    if floor > NAMED and not found.named:
        least = round(found.tests / NAMED)
        said.append(
            f"So few counterfeits can name nobody: the smallest p-value is {floor:.2g}. Set --counterfeits {least} or more."
        )
    said.append(
        f"As information, never as proof: the suspect's label is the model's own on {found.agreement:.0%} of these inputs, "
        "which are those that the model is least certain about. Independent models of good accuracy agree on most of them, too."
    )
    if found.agreement < 1.0 / found.classes:
        said.append("That is less than chance: a suspect that names its classes in another order than the model is not tested.")
    said += [f"Not tested: {one}." for one in found.left_out]
    return said


def _about(row: Row) -> str:
    who = one_line(row.subject)
    chance = (
        f"would happen by chance in 1 of {1 / row.corrected:,.0f} keys" if row.corrected < 1 else "is what any key would do"
    )
    start = f"{who}: how well the suspect fits this key {chance} (p = {row.corrected:.2g})"
    if len(row.clients) > 1:
        start += f"; {len(row.clients)} clients share it ({', '.join(_told_to(row))}{', ...' * (len(row.clients) > 5)}), and "
        start += "the test cannot tell which of them leaked"
    if row.dawn is not None:
        start += f"; of {row.dawn.misled} wrong labels it repeats {row.dawn.matches} (p = {row.dawn.p:.2g})"
    if row.corrected <= NAMED:
        return f"{start}. It was copied from answers that were told under this key."
    if row.corrected <= 0.01:
        return f"{start}. That is a lead, not a proof: nobody is named above {NAMED:g}."
    return f"{start}. Nothing is shown."


def _told_to(row: Row) -> list[str]:
    """Return the clients with most answers, each with how many."""
    return [f"{one_line(client)} ({count:,})" for client, count in row.clients[:5]]


def to_dict(found: Verified) -> dict[str, Any]:
    """Return the report for scripts."""
    return {
        "suspect": found.suspect,
        "model": found.model,
        "queries": found.queries,
        "counterfeits": found.counterfeits,
        "keys": found.keys,
        "tests": found.tests,
        "agreement": round(found.agreement, 4),
        "commitment": found.commitment,
        "stamped": None if found.stamped is None else rfc3339(int(found.stamped.timestamp() * 1000)),
        "unprovable": found.unprovable,
        "named": [row.subject for row in found.named],
        "rows": [_row(row) for row in found.rows],
        "left_out": found.left_out,
        "sentences": sentences(found),
        "limits": list(LIMITS),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "subject": row.subject,
        "clients": [{"client": client, "answers": count} for client, count in row.clients],
        "answers": row.answers,
        "inputs": row.inputs,
        "p": row.p,
        "p_corrected": row.corrected,
        "p_probabilities": row.probabilities,
        "dawn": None if row.dawn is None else row.dawn._asdict(),
        "first": rfc3339(row.first_ms),
    }


def write_report(found: Verified, folder: Path, made: dt.datetime) -> list[Path]:
    """Write report.md, report.json and a picture of each key, the most conspicuous first. Raises `OutputError`."""
    pictures = [(row, folder / f"key-{number}.png") for number, row in enumerate(found.rows[:SMALLEST], 1)]
    lines = [f"# {one_line(found.suspect)} and the model {one_line(found.model)}", "", f"{made:%Y-%m-%d %H:%M} UTC", ""]
    said = sentences(found)
    if found.unprovable is not None:
        lines += [f"## {said.pop(0)}", ""]
    lines += [f"- {one}" for one in said]
    lines += [
        "",
        "| subject | clients | marked answers | inputs | p | p, corrected | p by probabilities |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found.rows:
        clients = ", ".join(_told_to(row)) + (f" and {len(row.clients) - 5} more" if len(row.clients) > 5 else "")
        chances = "-" if row.probabilities is None else f"{row.probabilities:.2g}"
        cells = (one_line(row.subject), clients, row.answers, row.inputs, f"{row.p:.2g}", f"{row.corrected:.2g}", chances)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *(f"![{one_line(row.subject)}]({path.name})" for row, path in pictures), "", *LIMITS]
    lines.append(f"\nCommitment: SHA-256 {found.commitment}.")
    content = {**to_dict(found), "made": rfc3339(int(made.timestamp() * 1000))}
    try:
        private.make_folder(folder)
        private.write(folder / "report.md", ("\n".join(lines) + "\n").encode())
        private.write(folder / "report.json", json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the report: {error.strerror or error}") from error
    for row, path in pictures:
        draw_row(row, path)
    return [folder / "report.md", folder / "report.json", *(path for _, path in pictures)]

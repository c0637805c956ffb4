"""Results: what a replay (or the demo) recorded of a client, read from its folder."""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from detector.contracts.moment import parse_rfc3339
from detector.errors import SourceError
from detector.ingest.remote import is_url
from detector.names import printable
from detector.offline.explain.explanation import DecisionTaken
from detector.offline.explain.words import listed

NEAREST = 5


def summary_of(folder: Path) -> dict[str, Any]:
    """Return the summary of a run; raises `SourceError` when it is missing or does not name the logs."""
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SourceError(
            f"{folder}: no complete results here (summary.json is missing): give the folder that `detector replay --out` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    if not isinstance(summary, dict) or "logs" not in summary:
        raise SourceError(f"{path}: does not say which logs it is about: run the replay again")
    return summary


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; raises `SourceError` when it cannot be read, naming the line if one is broken."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise SourceError(f"{path}:{number}: not JSON: {error}") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error


def find_client(client: str, model: str | None, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the model and the recorded line of the client.

    Raises `SourceError` when it is not there (naming the nearest ids) or the model must be named.
    """
    own: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for line in read_lines(folder / "clients.jsonl"):
        names.add(line["client"])
        if line["client"] == client:
            own[line["model"]] = line
    if not own:
        close = sorted(names) if len(names) <= NEAREST else get_close_matches(client, sorted(names), n=NEAREST, cutoff=0.5)
        hint = f"; the nearest ids: {listed(close)}" if close else ""
        raise SourceError(f"{folder}: there is no client {printable(client)!r} among {len(names):,}{hint}")
    if model is None and len(own) > 1:
        raise SourceError(f"client {printable(client)!r} uses several models, choose one with --model: {listed(sorted(own))}")
    if model is None:
        model = next(iter(own))
    if model not in own:
        raise SourceError(
            f"client {printable(client)!r} sent nothing to model {printable(model)!r}; it uses {listed(sorted(own))}"
        )
    return model, own[model]


def logs_of(summary: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the logs that the results were made from; raises `SourceError` when one is gone."""
    logs = [str(log) for log in summary["logs"]]
    for log in logs:
        if log == "-":
            raise SourceError(f"{folder}: the log came from standard input and is gone: to explain clients, replay a file")
        if not is_url(log) and not Path(log).exists():
            raise SourceError(f"{log}: the log that {folder} was made from is gone")
    return logs


def decisions_of(folder: Path, client: str, model: str, end_ms: int) -> Iterator[DecisionTaken]:
    """Yield the recorded decisions about a client on a model; `end_ms` is the event time at which the log ends."""
    taken = []
    for line in read_lines(folder / "decisions.jsonl"):
        models = (line.get("scope") or {}).get("models")
        subject = (line["subject"]["type"], line["subject"]["id"])
        if subject == ("client", client) and (models is None or model in models):
            taken.append(line)
    last = max((line["revision"] for line in taken), default=0)
    for line in taken:
        expires = line.get("expires_at")
        yield DecisionTaken(
            action=line["action"],
            revision=line["revision"],
            issued=line["issued_at"],
            expires=expires,
            standing=line["revision"] == last and (expires is None or parse_rfc3339(expires) > end_ms),
            simulated=line["simulated"],
            origin=line["origin"],
            code=line["reason"]["code"],
            text=line["reason"]["admin"],
        )

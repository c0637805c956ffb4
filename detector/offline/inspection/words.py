"""What an inspection found, as lines for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from detector.names import printable

__all__ = ["tell"]

_WIDTH: Final = 12  # of what a line is about
_MOST_COLUMNS: Final = 30
_CELL: Final = 40
_PLACE: Final = 100
_LINE: Final = 300


def tell(found: Mapping[str, Any], *, configuration: bool = True) -> Iterator[str]:
    """Give the report line by line; nothing in it acts on a terminal once each is printed as one line."""
    yield from _log(found)
    yield from _format(found)
    yield from _events(found)
    yield from _clients(found["clients"])
    yield from _columns(found["columns"])
    yield from _refused(found["refused"], found["records"])
    yield from _first_events(found["first_events"])
    yield from _about("to do", found["advice"])
    if configuration:
        yield ""
        yield "configuration to go on with (--write FILE keeps it):"
        yield from (f"  {line}" if line else "" for line in found["configuration"].splitlines())


def _about(what: str, lines: Iterable[str]) -> Iterator[str]:
    for at, line in enumerate(lines):
        yield f"{'' if at else what:{_WIDTH}}{printable(line, _LINE)}".rstrip()


def _several(count: int, word: str, many: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def _log(found: Mapping[str, Any]) -> Iterator[str]:
    logs = found["logs"]
    files = _several(logs["count"], "log")
    looked = files if logs["read"] == logs["count"] else f"the first {logs['read']} of {files}"
    read = _several(found["records"], "record")
    yield from _about("log", [f"{looked}, {read if found['complete'] else f'the first {read}'}"])
    for log in logs["first"]:
        if log["container"] is not None:
            wrapped = "" if log["wrapper"] is None else f", each in what {_WRITER.get(log['wrapper'], log['wrapper'])} writes"
            yield from _about("", [f"{printable(log['name'], _PLACE)}: {log['container']}{wrapped}"])
    if logs["read"] > len(logs["first"]):
        yield from _about("", [f"and {logs['read'] - len(logs['first']):,} more"])


_WRITER: Final = {"kcat": "kcat -J", "docker": "docker", "cri": "the container runtime", "beats": "Beats"}


def _format(found: Mapping[str, Any]) -> Iterator[str]:
    total = _several(found["records"], "record")
    mixed = len(found["formats"]) > 1
    lines = []
    for name, about in found["formats"].items():
        lines.append(f"{name}: {about['records']:,} of {total}, by {about['sign']}")
        lines += [f"  first at {printable(about['first'], _PLACE)}"] * mixed
    if found["unrecognised"] or not lines:
        lines.append(f"none: {found['unrecognised']:,} of {total}")
    yield from _about("format", lines)


def _events(found: Mapping[str, Any]) -> Iterator[str]:
    times = found["times"]
    span = "" if times is None else f", {times[0]} to {times[1]}"
    answers = ", ".join(f"{count:,} with {what}" for what, count in found["outputs"].items())
    yield from _about("events", [f"{found['events']:,}{span}" + (f"; {answers}" if answers else "")])
    lines = [
        f"{printable(name)}: {_several(about['events'], 'event')}, inputs of {_lengths(about['values'])}"
        for name, about in found["models"].items()
    ]
    yield from _about("models", lines)
    yield from _requests(found["joined"], found["batches"], found["sampled"])


def _requests(joined: Mapping[str, Any], batches: Mapping[str, Any], sampled: Mapping[str, Any]) -> Iterator[str]:
    if joined["share"] is not None:
        pairs, alone = _several(joined["calls"], "pair"), _several(joined["without_other_half"], "half", "halves")
        yield from _about("joined", [f"{joined['share']:.0%} of what was logged apart: {pairs}, and {alone} alone"])
    if batches["requests"]:
        events, requests = _several(batches["events"], "event"), _several(batches["requests"], "request")
        yield from _about("batches", [f"{events} of {requests} with several inputs"])
    if sampled["events"]:
        weights = ", ".join(f"{count:,} stand for {weight} queries" for weight, count in sampled["weights"].items())
        yield from _about("sampled", [f"{weights} each"])


def _lengths(lengths: Mapping[int, int]) -> str:
    if len(lengths) == 1:
        return _several(next(iter(lengths)), "value")
    return " or ".join(f"{length:,} ({count:,} times)" for length, count in list(lengths.items())[:5]) + " values"


def _clients(clients: Mapping[str, Any]) -> Iterator[str]:
    lines = [
        f"{_several(about['clients'], 'client')} by {source}, {_several(about['calls'], 'call')}"
        for source, about in clients["named_by"].items()
    ]
    if clients["largest"]:
        lines.append("most queries: " + ", ".join(f"{printable(name)} {count:,}" for name, count in clients["largest"].items()))
    yield from _about("clients", lines or ["nobody is known to have asked"])


def _columns(columns: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for model, known in columns.items():
        rows = [("column", "kind", "missing", "examples")]
        rows += [
            (printable(one["name"], _CELL), one["kind"], f"{one['missing_share']:.1%}", ", ".join(one["examples"]))
            for one in known[:_MOST_COLUMNS]
        ]
        lines = [f"of model {printable(model)}", *_aligned(rows)]
        if len(known) > _MOST_COLUMNS:
            lines.append(f"and {len(known) - _MOST_COLUMNS:,} more")
        yield from _about("columns", lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _refused(refused: Mapping[str, Any], records: int) -> Iterator[str]:
    lines = []
    for reason, about in refused.items():
        lines.append(f"{about['count']:,} {reason}: {about['detail']}")
        lines.append(f"  first at {printable(about['first'], _PLACE)}")
        if about["hint"]:
            lines.append(f"  {about['hint']}")
    yield from _about("refused", lines or [f"none of {_several(records, 'record')}"])


def _first_events(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not events:
        return
    rows = [("time", "client", "model", "answer", "input")]
    for event in events:
        chances = event["probabilities"]
        shown = (
            ""
            if chances is None
            else "[" + ", ".join(f"{chance:.3g}" for chance in chances[:4]) + (", …" if len(chances) > 4 else "") + "]"
        )
        answer = " ".join(filter(None, ["" if event["label"] is None else printable(str(event["label"]), _CELL), shown]))
        numbers = ["missing" if value is None else f"{value:.4g}" for value in event["first_values"]]
        more = ", …" if event["values"] > len(numbers) else ""
        rows.append(
            (
                event["time"],
                printable(event["client"], _CELL),
                printable(event["model"], _CELL),
                answer,
                ", ".join(numbers) + more,
            )
        )
    yield from _about("first", _aligned(rows))

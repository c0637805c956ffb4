"""Messages for configuration mistakes, with their place: a line of the file, or an environment variable."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args, get_origin

from detector.config.delivery import DeliverySection, DeliveryTable
from detector.config.whole import PREFIX, Config
from detector.errors import ConfigError


def refuse_unknown_variables() -> None:
    """Raise `ConfigError` for a variable of a section that does not exist: it would be ignored silently."""
    for name in sorted(os.environ):
        section, nested, _ = name.upper().removeprefix(PREFIX).partition("__")
        if name.upper().startswith(PREFIX) and nested and section.lower() not in Config.model_fields:
            known = ", ".join(sorted(Config.model_fields))
            raise ConfigError(f"environment variable {name}: there is no such section; known: {known}")


def from_environment(place: tuple[Any, ...]) -> str | None:
    """Return the environment variable that set the value at `place`, if one did."""
    for depth in range(len(place), 0, -1):
        wanted = (PREFIX + "__".join(map(str, place[:depth]))).upper()
        for name in os.environ:
            if name.upper() == wanted:
                return name
    return None


def explain(entry: Any, path: Path | None, text: str, delivery: type[DeliverySection] = DeliverySection) -> str:
    """Return the sentence for an error that pydantic found in a configuration: where, which key, what would be right.

    `delivery` is the section that a delivery was checked against.
    """
    place = entry["loc"]
    variable = from_environment(place)
    message = entry["msg"].removeprefix("Value error, ")
    if entry["type"] == "extra_forbidden":
        known = _known(place[:-1], delivery)
        message = f"there is no such key; known here: {', '.join(known)}" if known else "there is no such key"
    named = ".".join(map(str, place)) + ": " if place else ""  # a rule about several sections names them itself
    if variable is not None:
        return f"environment variable {variable}: {message}"
    if path is None:  # a rule about a whole section, of which the environment set some
        start = (PREFIX + "__".join(map(str, place))).upper()
        own = sorted(known for known in os.environ if known.upper().startswith(start))
        return f"environment variable {', '.join(own) or start}: {named}{message}"
    return f"{path}:{_line(place, text)}: {named}{message}" if place else f"{path}: {message}"


def _known(place: tuple[Any, ...], delivery: type[DeliverySection]) -> list[str]:
    model: Any = Config
    for part in place:
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif get_origin(model) is tuple:
            listed = get_args(model)[0]
            model = delivery if listed is DeliveryTable else listed
        else:
            field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
            model = field.annotation if field else None
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


def _line(place: tuple[Any, ...], text: str) -> int:
    """Return the line where the value at `place` is written, or its section, counted from 1."""
    parts = [str(part) for part in place]
    tables: Counter[str] = Counter()
    section: list[str] = []
    best = (0, 1)
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        header = re.fullmatch(r"\[\s*(.+?)\s*\]\s*(#.*)?", stripped)
        entry = re.fullmatch(r"\[\[\s*([\w.-]+)\s*\]\]\s*(#.*)?", stripped)
        if entry:
            here = section = [*entry[1].split("."), str(tables[entry[1]])]
            tables[entry[1]] += 1
        elif header:
            section = [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", header[1])]
            here = section
        elif "=" in stripped and not stripped.startswith("#"):
            key = [part.strip().strip("\"'") for part in stripped.split("=", 1)[0].split(".")]
            here = [*section, *key]
        else:
            continue
        common = 0
        while common < min(len(here), len(parts)) and here[common] == parts[common]:
            common += 1
        if common == len(here) and common > best[0]:
            best = (common, number)
    return best[1]

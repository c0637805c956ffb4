"""Files: pictures by name, and the tuned part of a configuration as TOML."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from detector import private
from detector.config import Config
from detector.errors import OutputError
from detector.offline import pictures
from detector.offline.explain import Explanation

HEAD = "# What decides who is acted on. Connections and secrets belong into the environment or a file of their own."


def client_picture(explanation: Explanation, path: str | Path) -> None:
    """Draw an explained client as ``detector explain`` does, to a PNG file; raises `OutputError`."""
    pictures.client_picture(explanation, Path(path))


def write_config(config: Config, path: str | Path) -> None:
    """Write ``[baseline]``, ``[models]``, ``[policy]``, ``[engine]`` and ``[ingest]`` to `path`, for `load_config`.

    Policy is written in full, of the rest only what is not the default. Where servers are, and how to log in there, is left
    out: a notebook should not spread secrets. ``engine.seed`` is written if it is set, and only the file's owner can read it. A
    baseline below the file's folder is named relative to it, so that both can move together.

    Raises `OutputError` when the file cannot be written.
    """
    path = Path(path)
    try:
        private.write(path, ("\n".join(_lines(config, path.resolve().parent)) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write the configuration {path}: {error.strerror or error}") from error


def _lines(config: Config, home: Path) -> Iterator[str]:
    yield HEAD
    folder = config.baseline.path
    if folder is not None:
        full = folder.resolve()
        yield from _section("baseline", {"path": (full.relative_to(home) if full.is_relative_to(home) else full).as_posix()})
    for model, section in config.models.items():
        yield from _section(f"models.{_toml(model)}", section.model_dump(mode="json", exclude_defaults=True))
    yield from _section("policy", config.policy.model_dump(mode="json", exclude_none=True))
    engine = config.engine.model_dump(mode="json", exclude_defaults=True)
    if engine:
        yield from _section("engine", engine)
    ingest = config.ingest.model_dump(mode="json", exclude_defaults=True)
    topics = ingest.pop("topics", {})
    if ingest:
        yield from _section("ingest", ingest)
    for topic, section in topics.items():
        yield from _section(f"ingest.topics.{_toml(topic)}", section)


def _section(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"[{name}]"
    for key, value in values.items():
        yield f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    """Write a value: TOML's strings, numbers and booleans look like those of JSON, but for one control character."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_toml(str(name))} = {_toml(below)}" for name, below in value.items() if below is not None) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")

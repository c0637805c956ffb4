"""The configuration is read from a file, with the environment over it."""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from detector.config.delivery import DeliverySection
from detector.config.mistakes import explain, from_environment, refuse_unknown_variables
from detector.config.whole import Config
from detector.errors import ConfigError

Kinds: TypeAlias = Callable[[], Mapping[str, type[DeliverySection]]]


def load(path: Path | None, kinds: Kinds | None = None) -> Config:
    """Read the configuration; a relative baseline path is taken from the folder of the file.

    `kinds` returns the sections of deliveries by kind, `detector.sinks.registry.SECTIONS`. It is called where there are
    deliveries, since importing their client libraries takes long. Without it a delivery's own keys are not checked until it is
    used.

    Raises `ConfigError`, with file and line, or the name of the environment variable.
    """
    text = ""
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: the configuration is not UTF-8 text") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{found[1]}" if found else f"{path}"
        raise ConfigError(f"{where}: not valid TOML: {re.sub(r' [(]at .*', '', str(error))}") from error
    try:
        config = Config(**content)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(entry, path, text) for entry in error.errors())) from error
    except Exception as error:
        # pydantic-settings wraps JSON that it cannot parse in an environment variable.
        raise ConfigError(f"environment: {error}") from error
    refuse_unknown_variables()
    if kinds is not None and config.deliveries:
        config = config.model_copy(update={"deliveries": _of_kinds(config, kinds(), path, text)})
    folder = config.baseline.path
    if path is None or folder is None or folder.is_absolute() or from_environment(("baseline", "path")):
        return config
    return config.with_baseline(path.parent / folder)


def _of_kinds(
    config: Config, kinds: Mapping[str, type[DeliverySection]], path: Path | None, text: str
) -> tuple[DeliverySection, ...]:
    """Return the deliveries as their kinds have them; raises `ConfigError` with all that is wrong."""
    found: list[DeliverySection] = []
    wrong: list[str] = []
    for number, table in enumerate(config.deliveries):
        section = kinds.get(table.kind)
        if section is None:
            message = f"there is no such kind of delivery; known: {', '.join(sorted(kinds))}"
            wrong.append(explain({"loc": ("deliveries", number, "kind"), "msg": message, "type": "kind"}, path, text))
            continue
        try:
            found.append(section.model_validate(table.given))
        except ValidationError as error:
            wrong += (
                explain(entry | {"loc": ("deliveries", number, *entry["loc"])}, path, text, section) for entry in error.errors()
            )
    if wrong:
        raise ConfigError("\n".join(wrong))
    return tuple(found)

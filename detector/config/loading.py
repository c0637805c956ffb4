"""The configuration is read from a file, with the environment over it."""

import re
import tomllib
from pathlib import Path

from pydantic import ValidationError

from detector.config.mistakes import explain, from_environment, refuse_unknown_variables
from detector.config.whole import Config
from detector.errors import ConfigError


def load(path: Path | None) -> Config:
    """Read the configuration; a relative baseline path is taken from the folder of the file.

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
    folder = config.baseline.path
    if path is None or folder is None or folder.is_absolute() or from_environment(("baseline", "path")):
        return config
    return config.with_baseline(path.parent / folder)

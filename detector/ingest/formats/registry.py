"""The formats that can be read. A new one is a module beside this one, and its name below."""

from importlib import import_module

from detector.errors import ConfigError
from detector.ingest.formats.auto import AUTO, auto_format
from detector.ingest.formats.decoder import Format

__all__ = ["FORMATS", "format_named"]

MODULES = (
    "native",
    "apisix",
    "kserve",
    "seldon",
    "mlserver",
    "sagemaker",
    "azureml",
    "databricks",
    "mlflow",
    "vertex",
    "bentoml",
    "tfserving",
    "triton",
    "rayserve",
    "kong",
    "envoy",
    "litellm",
    "openai",
    "otel",
    "mapping",
)  # fmt: skip


def _of(module: str) -> Format:
    found: Format = import_module(f"detector.ingest.formats.{module}").FORMAT
    return found


FORMATS: dict[str, Format] = {entry.name: entry for entry in map(_of, MODULES)}
"""All formats by the name that they have in the configuration; ``auto`` is the last and chooses among the others."""
FORMATS[AUTO] = auto_format(FORMATS)


def format_named(name: str) -> Format:
    """Return a format; raises `ConfigError` where there is none of that name.

    >>> format_named("native").name
    'native'
    """
    found = FORMATS.get(name)
    if found is None:
        raise ConfigError(f"[ingest] format: there is no log format {name!r}; known: {', '.join(sorted(FORMATS))}")
    return found

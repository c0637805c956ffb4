"""Installing index and component templates, and reporting what that changes.

The assets are files in the form in which the server returns them. A template that is up to date is not written, so installing
may be repeated at any time. A user's ``@custom`` templates are never changed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from elasticsearch import Elasticsearch, NotFoundError

State = Literal["new", "changed", "as it should be"]
ASSETS = files("detector.sinks.elastic") / "assets"


@dataclass(frozen=True, slots=True)
class Asset:
    """One template: its kind, its name, and its content."""

    kind: Literal["component template", "index template"]
    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InstallStep:
    """One object to install, and its state before."""

    what: str
    state: State


def assets() -> list[Asset]:
    """Return the templates in the order of installation.

    >>> [asset.name for asset in assets() if asset.kind == "index template"]
    ['logs-detector.alert', 'logs-detector.decision', 'metrics-detector.client']
    """
    return [*_read("component template", "component-templates"), *_read("index template", "index-templates")]


def _read(kind: Literal["component template", "index template"], folder: str) -> Iterator[Asset]:
    for file in sorted((ASSETS / "elasticsearch" / folder).iterdir(), key=lambda file: file.name):
        yield Asset(kind, file.name.removesuffix(".json"), json.loads(file.read_text(encoding="utf-8")))


def install(client: Elasticsearch, *, dry_run: bool = False) -> list[InstallStep]:
    """Install the templates; with `dry_run` only report what would change. Raises the client's own errors."""
    return [_put(client, asset, dry_run=dry_run) for asset in assets()]


def _put(client: Elasticsearch, asset: Asset, *, dry_run: bool) -> InstallStep:
    found = _found(client, asset)
    state: State = "new" if found is None else "as it should be" if says(found, asset.content) else "changed"
    if state != "as it should be" and not dry_run:
        if asset.kind == "component template":
            client.cluster.put_component_template(name=asset.name, **_arguments(asset))
        else:
            client.indices.put_index_template(name=asset.name, **_arguments(asset))
    return InstallStep(f"{asset.kind} {asset.name}", state)


def _arguments(asset: Asset) -> dict[str, Any]:
    return {{"_meta": "meta"}.get(name, name): value for name, value in asset.content.items()}


def _found(client: Elasticsearch, asset: Asset) -> Any:
    try:
        if asset.kind == "component template":
            listed = client.cluster.get_component_template(name=asset.name)["component_templates"]
            return listed[0]["component_template"]
        return client.indices.get_index_template(name=asset.name)["index_templates"][0]["index_template"]
    except NotFoundError:
        return None


def says(found: Any, wanted: Any) -> bool:
    """Whether `found` contains all of `wanted`; it may contain more, such as defaults that the server adds.

    >>> says({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}), says({"a": [1, 2]}, {"a": [1]})
    (True, False)
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(name in found and says(found[name], part) for name, part in wanted.items())
    return bool(found == wanted)


def streams_to_roll(client: Elasticsearch) -> list[str]:
    """Return our existing data streams, which use a changed mapping only from their next index on."""
    resolved = client.indices.resolve_index(name="logs-detector.*,metrics-detector.*", expand_wildcards="open")
    return sorted(stream["name"] for stream in resolved["data_streams"])

"""The tables of docs/pages/configuration.md, made from the models that check the configuration."""

import json
import types
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from detector.config import Config
from detector.sinks.registry import SECTIONS

MARK = "<!-- generated: configuration -->"
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", SecretStr: "secret text"}
SIGNS = ((Ge, "ge", "from {}"), (Gt, "gt", "above {}"), (Le, "le", "up to {}"), (Lt, "lt", "below {}"))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables in the place of the mark."""
    del page, config, files
    return markdown.replace(MARK, "\n".join(lines())) if MARK in markdown else markdown


def lines() -> Iterator[str]:
    """Yield the lines of all sections, in the order of the model."""
    for name, field in Config.model_fields.items():
        annotation = field.annotation
        if get_origin(annotation) is dict:
            yield from table(f'[{name}."MODEL ID"]', get_args(annotation)[1], f"{name}__MODEL_ID__".upper())
        elif get_origin(annotation) is tuple:
            common = get_args(annotation)[0]
            yield from table(f"[[{name}]]", common, None)
            for sort, section in SECTIONS.items():
                yield from table(f'[[{name}]] kind = "{sort}"', section, None, known=common.model_fields)
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from table(f"[{name}]", annotation, f"{name}__".upper())


def table(heading: str, section: type[BaseModel], variable: str | None, known: Collection[str] = ()) -> Iterator[str]:
    """Yield the heading, purpose and keys of a section but for the `known`; `variable` begins its environment variables."""
    yield from (f"## `{heading}`", "", " ".join((section.__doc__ or "").split()).replace("``", "`"), "")
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    nested: list[tuple[str, str, type[BaseModel]]] = []
    lists: list[tuple[str, type[BaseModel]]] = []
    for key, field in section.model_fields.items():
        if key in known:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested.append((key, key, field.annotation))
            continue
        if (inner := by_name(field.annotation)) is not None:
            nested.append((f'{key}."NAME"', f"{key}__NAME", inner))
            continue
        if (inner := listed(field.annotation)) is not None:
            lists.append((key, inner))
            continue
        said = field.description or ""
        name = f"`{key}`" if variable is None else f"`{key}`<br>`DETECTOR_{variable}{key.upper()}`"
        yield f"| {name} | {kind(field.annotation)}{bounds(field)} | {default(field)} | {said} |"
    yield ""
    for key, known_as, annotation in nested:
        begins = None if variable is None else f"{variable}{known_as}__".upper()
        yield from table(f"{heading[:-1]}.{key}]", annotation, begins)
    for key, annotation in lists:
        yield from table(f"[{heading[:-1]}.{key}]]", annotation, None)


def by_name(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a table holds under each name; None where it holds something else."""
    inside = get_args(annotation)
    found = get_origin(annotation) is dict and isinstance(inside[1], type) and issubclass(inside[1], BaseModel)
    return inside[1] if found else None


def listed(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a list holds; None where it holds something else."""
    inside = get_args(annotation)
    found = get_origin(annotation) is tuple and isinstance(inside[0], type) and issubclass(inside[0], BaseModel)
    return inside[0] if found else None


def kind(annotation: Any) -> str:
    """Return the type of a key in words.

    >>> kind(tuple[str, ...]), kind(int | None), kind(Literal["udp", "tcp"])
    ('list of texts', 'whole number', '`udp`, `tcp`')
    """
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(inside[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(kind(one) for one in inside if one is not type(None))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inside)
    if origin is tuple:
        return f"list of {several(inside[0])}"
    if origin is dict:
        return f"table of {several(inside[1])}"
    return WORDS[annotation]


def several(annotation: Any) -> str:
    """Return the type of the parts of a list in words.

    >>> several(int), several(Literal["alerts", "decisions"])
    ('whole numbers', '`alerts`, `decisions`')
    """
    one = kind(annotation)
    return f"{one}s" if one in WORDS.values() else one


def bounds(field: FieldInfo) -> str:
    """Return the limits of a key's value, with a comma before them, or nothing."""
    said = [
        words.format(f"{getattr(rule, name):,}")
        for rule in field.metadata
        for sort, name, words in SIGNS
        if isinstance(rule, sort)
    ]
    return f", {' '.join(said)}" if said else ""


def default(field: FieldInfo) -> str:
    """Return the default as TOML has it."""
    given = field.default
    if given is PydanticUndefined:
        return "required"
    return "not set" if given is None else f"`{toml(given)}`"


def toml(given: Any) -> str:
    """Return a value as TOML writes it.

    >>> toml(True), toml(5.0), toml(("alerts", "decisions"))
    ('true', '5.0', '["alerts", "decisions"]')
    """
    if isinstance(given, tuple):
        return f"[{', '.join(map(toml, given))}]"
    return json.dumps(given)

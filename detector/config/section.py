"""What sections have in common: unknown keys are mistakes, names may be separated by commas, secrets may lie in files."""

import json
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from detector.errors import ConfigError

Minutes = Annotated[float, Field(gt=0, le=366 * 24 * 60)]


class Section(BaseModel):
    """Base of the sections: unknown keys are mistakes, and so is true or false where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        each = given if isinstance(given, list | tuple) else [given]
        if any(isinstance(one, bool) for one in each) and info.field_name in cls.model_fields:
            kinds = set(_kinds(cls.model_fields[info.field_name].annotation))
            if kinds & {int, float} and bool not in kinds:  # which pydantic would take for 1 and 0
                raise ValueError("is a number, and true and false are none")
        return given


def _kinds(annotation: Any) -> list[Any]:
    """Return all types that an annotation is made of."""
    return [annotation, *(kind for part in get_args(annotation) for kind in _kinds(part))]


def read_names(given: Any) -> Any:
    """Read names separated by commas, or the list of them that JSON has; what is no text stays as it is.

    >>> read_names("a, b"), read_names('["a", "b"]'), read_names(3)
    (['a', 'b'], ['a', 'b'], 3)
    """
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return json.loads(given)
    return [name.strip() for name in given.split(",") if name.strip()]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(read_names)]  # so that the environment need not be JSON


def read_secret(given: SecretStr | None, file: Path | None, what: str) -> str | None:
    """Return a secret, from its setting or its file, None without either; `what` it is called where it cannot be read.

    Raises `ConfigError` when the file cannot be read.
    """
    if file is None:
        return None if given is None else given.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{file}: cannot read {what}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: cannot read {what}: it is not UTF-8 text") from error

"""What all parts of a recipe share: unknown keys are errors, told in one line with the nearest known key."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from mdgen.errors import MdgenError


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; values never change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SectionType = TypeVar("SectionType", bound=BaseModel)


def checked(section: type[SectionType], content: dict[str, Any], source: str) -> SectionType:
    """`content` as a checked section; raises `MdgenError` that names `source`, the key and what is wrong with it."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise MdgenError(f"{source}: {_explain(error, section)}") from error


def _explain(error: ValidationError, section: type[BaseModel]) -> str:
    """One line for the first problem, with the nearest known key for an unknown one."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, known_keys(section.model_fields), n=1, cutoff=0.5)
        return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"].lower()
    return f"{where}: {message}" + ("" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})")


def known_keys(fields: dict[str, FieldInfo], prefix: str = "") -> list[str]:
    """Dotted names of these settings, and of those in them that are sections."""
    keys = []
    for name, field in fields.items():
        key = prefix + (field.alias or name)
        keys += [key, *known_keys(getattr(field.annotation, "model_fields", {}), key + ".")]
    return keys

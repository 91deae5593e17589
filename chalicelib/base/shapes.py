"""What describes values: the base of what leaves the service, and a request's members that a shape elsewhere tells of.

The shapes of a folder's nouns are in its `shapes`. They describe: no request loads them but that for the description,
and the suite holds every answer against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """The base of what leaves the service: exactly these members."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def shape(name: str) -> Any:
    """The shape of a folder's noun: `runs.Run` is Run of chalicelib/runs/shapes.py."""
    folder, _, noun = name.partition(".")
    return getattr(import_module(f"chalicelib.{folder}.shapes"), noun)


@dataclass(frozen=True, slots=True)
class Described:
    """That the description of a value, which is judged elsewhere, is the shape of that name."""

    name: str

    def __get_pydantic_json_schema__(self, core: Mapping[str, Any], handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(TypeAdapter(shape(self.name)).core_schema)

"""Pages, problems and what the service tells of itself."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from chalicelib.base.errors import Code
from chalicelib.base.shapes import Shape

Part = str | bool | int | float | list[str | bool | int | float] | None


class Page[Item](Shape):
    """A page of a list."""

    items: list[Item]
    """The things of this page."""
    next_cursor: str | None
    """What `cursor` takes for the next page; null on the last."""


class Fault(Shape):
    """One thing wrong with a request."""

    pointer: str
    """Where: an RFC 6901 pointer into the body, or `/<name>` of a parameter of the path or the query."""
    code: Code
    """Which kind of thing."""
    detail: str
    """What, as a plain sentence."""
    params: dict[str, Part]
    """What the sentence is made of, for a front end to say it in its own language."""


class Open(BaseModel):
    """The base of what may have further members."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Problem(Open):
    """A refusal, as RFC 9457 has it."""

    type: str
    """What kind of problem; `about:blank` where the status says it."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What was refused, as a plain sentence."""
    errors: list[Fault] = []
    """Every fault of the request, where members of it are to blame."""


class Health(Shape):
    """The service answers."""

    status: Literal["ok"]
    """Always `ok`."""


class Info(Open):
    """What is described."""

    title: str
    """Its name."""
    version: str
    """Its version."""


class Operation(Open):
    """A method of a path."""

    operationId: str
    """Its name."""
    summary: str
    """What it does."""


class Description(Open):
    """An OpenAPI 3.1 document."""

    openapi: str
    """The version of OpenAPI."""
    info: Info
    """What is described, and its version."""
    paths: dict[str, dict[str, Operation]]
    """The operations by path and method."""

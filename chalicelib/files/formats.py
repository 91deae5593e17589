"""The file formats by name: the one place that lists them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from chalicelib.files import csv_file, ndjson_file, parquet_file, spss_file
from chalicelib.files.contract import Format, Options

FORMATS: dict[str, Format] = {
    "csv": csv_file.FORMAT,
    "spss": spss_file.FORMAT,
    "parquet": parquet_file.FORMAT,
    "ndjson": ndjson_file.FORMAT,
}


def options_of(name: str, kept: Mapping[str, Any]) -> Any:
    """The options of a saved configuration in the format of that name, as its writer takes them."""
    form = FORMATS[name]
    model = form.insider.options if "dialect" in kept and form.insider else None
    return (model or form.options).model_validate(kept)


def insider_formats() -> dict[str, tuple[str, dict[str, Any]]]:
    """The formats that Insider's shape has, by their names there: our name, and the options to save."""
    return {
        form.insider.name: (name, {"dialect": "insider"} if form.insider.options else {})
        for name, form in FORMATS.items()
        if form.insider
    }


@dataclass(frozen=True, slots=True)
class _OneOf:
    """That a text is one of the names, as a Literal says it."""

    names: Callable[[], Iterable[str]]

    def __get_pydantic_core_schema__(self, *_: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.names()))


@dataclass(frozen=True, slots=True)
class _AnyOf:
    """That options are those of one of the models."""

    models: Callable[[], Iterable[type[Options] | None]]

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return handler.generate_schema(reduce(or_, (model for model in self.models() if model)))


FormatOptions = Annotated[Options, _AnyOf(lambda: (form.options for form in FORMATS.values()))]
InsiderFormatOptions = Annotated[
    Options, _AnyOf(lambda: (form.insider.options for form in FORMATS.values() if form.insider))
]
FormatName = Annotated[str, _OneOf(lambda: FORMATS)]
InsiderFormatName = Annotated[str, _OneOf(insider_formats)]

"""What the SPSS files of a saved export have promised: names and widths, kept with the export and changed by the commit
of a run alone, so that a run that is lost changes nothing and of two that race neither narrows the other's."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.aws.store import Attr, Write
from chalicelib.base.packing import packed, unpacked
from chalicelib.base.services import Services
from chalicelib.exports import config
from chalicelib.files.spss_rules import NOTHING, Promise
from chalicelib.runs.row import Run

# An item of the table holds 400 kB. What does not fit is chosen from the data of each run, which says so.
MAX_BYTES = 350_000
TOO_MANY = (
    "The SPSS file has more variables than can be remembered for the next run: names and widths may differ from file "
    "to file, so that SPSS may not join this export's files. Choose fewer columns."
)
# How the variables of a multiple choice are shown.
_OF_A_CHOICE = "F8.0"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run found: the promise, its text as it is stored (None: there is none), and the export's configuration."""

    promise: Promise = NOTHING
    stored: str | None = None
    config: str | None = None


def place(domain: str, export_id: str) -> tuple[str, str]:
    """Where an export's promise is."""
    return f"dictionary/{domain}/{export_id}", "spss"


def read(services: Services, run: Run) -> Kept:
    """What the run's export has promised; nothing for a run without one, or of another dataset than it has now."""
    if run.export_id is None:
        return Kept()
    domain, export_id = run.domain, run.export_id
    export = services.store.get(*config.place(domain, export_id))
    item = services.store.get(*place(domain, export_id))
    if export is None or config.config_of(export)["dataset"] != run.config.dataset:
        return Kept()
    if item is None:
        return Kept(config=export["config"])
    return Kept(promise_of(item["variables"]), item["variables"], export["config"])


def writes(run: Run, kept: Kept, promise: Promise) -> list[Write]:
    """What to write with the run's commit, under the condition that the export and its promise are as they were."""
    if run.export_id is None or kept.config is None or promise == kept.promise:
        return []
    text = stored(promise)
    if len(text) > MAX_BYTES:
        return []
    pk, sk = place(run.domain, run.export_id)
    unchanged = Attr("pk").not_exists() if kept.stored is None else Attr("variables").eq(kept.stored)
    return [
        Write(put={"pk": pk, "sk": sk, "variables": text}, when=unchanged),
        # A condition alone; to set what is there needs no further permission.
        Write(
            update=config.place(run.domain, run.export_id),
            set={"config": kept.config},
            when=Attr("config").eq(kept.config),
        ),
    ]


def warnings(kept: Kept, promise: Promise) -> list[str]:
    """What the run's owner is to know of what is kept for the next run: that it is too much to be."""
    return [TOO_MANY] if kept.config is not None and len(stored(promise)) > MAX_BYTES else []


def stored(promise: Promise) -> str:
    """The promise as it is kept: for each column its variables as [code, name, format], and then the first and the last
    of each run of codes whose variables are named `<column>_<code>`, for a domain may have a hundred thousand."""
    columns: dict[str, tuple[list[Any], list[int]]] = {}
    for (column, code), (name, format) in promise.items():
        variables, codes = columns.setdefault(column, ([], []))
        if code is not None and (name, format) == (f"{column}_{code}", _OF_A_CHOICE):
            codes.append(code)
        else:
            variables.append([code, name, format])
    return packed(
        json.dumps([[column, variables, list(_runs(codes))] for column, (variables, codes) in columns.items()])
    )


def promise_of(text: str) -> Promise:
    """The promise that `stored` was given."""
    promise: dict[tuple[str, int | None], tuple[str, str]] = {}
    for column, variables, runs in json.loads(unpacked(text)):
        promise.update({(column, code): (name, format) for code, name, format in variables})
        for first, last in runs:
            promise.update({(column, code): (f"{column}_{code}", _OF_A_CHOICE) for code in range(first, last + 1)})
    return promise


def _runs(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of consecutive codes."""
    first = last = None
    for code in sorted(codes):
        if first is None or last is None:
            first = code
        elif code != last + 1:
            yield first, last
            first = code
        last = code
    if first is not None and last is not None:
        yield first, last

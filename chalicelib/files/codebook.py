"""The codebook: what every column of a file means, as values and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import TypedDict

from chalicelib.base.table import Column
from chalicelib.files.formula import guarded

# Spreadsheets take a CSV for UTF-8 by it.
BYTE_ORDER_MARK = "\ufeff"


class ValueLabel(TypedDict):
    """One code of a choice column; `missing` marks a user-missing one."""

    code: int
    label: str
    missing: bool


class Entry(TypedDict):
    """One column of a file, by the name that it has in the header."""

    name: str
    label: str
    type: str
    value_labels: list[ValueLabel]
    source: str
    definition: str


def entries(columns: Sequence[Column]) -> list[Entry]:
    """The codebook's entries, in file order."""
    return [
        Entry(
            name=column.name,
            label=column.label,
            type=column.type,
            value_labels=[
                ValueLabel(code=choice.code, label=choice.label, missing=choice.missing) for choice in column.choices
            ],
            source=column.source,
            definition=column.definition,
        )
        for column in columns
    ]


def as_csv(codebook: Sequence[Entry]) -> str:
    """The codebook as guarded CSV with a byte order mark: a header, lines ended by LF, value labels as
    `1=Female; 2=Male`."""
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    rows.writerow(Entry.__annotations__)
    for entry in codebook:
        value_labels = "; ".join(f"{one['code']}={one['label']}" for one in entry["value_labels"])
        cells = [entry["name"], entry["label"], entry["type"], value_labels, entry["source"], entry["definition"]]
        rows.writerow(map(guarded, cells))
    return BYTE_ORDER_MARK + lines.getvalue()

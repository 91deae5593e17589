"""Column: what a dataset yields and a writer takes, so that a header, a row and a codebook cannot disagree."""

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["text", "integer", "number", "boolean", "date", "datetime", "choice", "choices"]

# The DuckDB type in which a dataset's query yields a column of each type. Instants are UTC; choices are codes.
PHYSICAL: dict[ColumnType, str] = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "datetime": "TIMESTAMP",
    "choice": "INTEGER",
    "choices": "INTEGER[]",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a choice column; `missing` marks a user-missing value (refused, not asked)."""

    code: int
    label: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file: its name in the header, its meaning, and the type that every writer renders from.

    `decimals` fixes the decimals of a `number` (ResponseRate: 2); None means as many as the value has. `bytes` is how
    long a `text` of its kind may be (ids, addresses); 0 means as long as it likes.
    """

    name: str
    label: str
    type: ColumnType
    source: Literal["system", "profile", "participation", "event", "link"] = "system"
    definition: str = ""
    choices: tuple[Choice, ...] = ()
    decimals: int | None = None
    bytes: int = 0

    @property
    def is_id(self) -> bool:
        """Whether its texts are ids of participants or links, which have an alphabet of their own."""
        return self.bytes == ID_BYTES


# How long an id and an e-mail address are at most, in bytes.
ID_BYTES, EMAIL_BYTES = 128, 320


@dataclass(frozen=True, slots=True)
class Table:
    """A dataset ready to be computed: its columns in file order, and the one SELECT that yields them, sorted.

    `sql` names each output column as in `columns` and in the types of `PHYSICAL`; `parameters` are its named
    parameters (`$as_of`). The query reads only the views that `lake` opens.
    """

    columns: tuple[Column, ...]
    sql: str
    parameters: dict[str, object]


def quoted(identifier: str) -> str:
    """The identifier as SQL writes it, whatever characters it holds."""
    return '"' + identifier.replace('"', '""') + '"'

"""What SPSS asks of a data set, decided: names, labels, widths, formats and missing values, and what is lost by them.

The limits are those of the SPSS manual; the file layout is PSPP's description of system files
(https://www.gnu.org/software/pspp/pspp-dev/html_node/System-File-Format.html).
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from chalicelib.base.table import Choice, Column
from chalicelib.files.cells import counted

NAME_BYTES = 64
LABEL_BYTES = 256
VALUE_LABEL_BYTES = 120
TEXT_BYTES = 32_767
# The first and the last day that SPSS's calendar and four digits of a year hold.
FIRST_DATE, LAST_DATE = "1582-10-15", "9999-12-31"
EXACT_INTEGER = 2**53

_RESERVED = frozenset(["ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"])
_WIDEST_NUMBER = 20
_DISCRETE_MISSING = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """User-missing values as SPSS can state them: at most three values, or one range and at most one value."""

    values: tuple[int, ...] = ()
    range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the file; `column` is the position of the column that it shows.

    `width` is in bytes, 0 for a number. `code` is set on the variables of a multiple choice: 1 where it was chosen.
    """

    name: str
    label: str
    column: int
    format: str
    measure: Literal["nominal", "ordinal", "scale"]
    width: int = 0
    code: int | None = None
    value_labels: tuple[tuple[int, str], ...] = ()
    missing: Missing = Missing()


@dataclass(frozen=True, slots=True)
class ResponseSet:
    """A multiple dichotomy set: the variables of one multiple choice, each counted where it is 1."""

    name: str
    label: str
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole dictionary, and what the file cannot say of the data."""

    variables: tuple[Variable, ...]
    sets: tuple[ResponseSet, ...]
    warnings: tuple[str, ...]


def cut(text: str, size: int) -> str:
    """The text in at most so many bytes of UTF-8, cut at a character."""
    return text.encode()[:size].decode(errors="ignore")


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] == "L"


def _is_of_names(character: str) -> bool:
    return character in "._$#@" or unicodedata.category(character) in ("Mn", "Mc", "Nd") or _is_letter(character)


def valid_name(stem: str, suffix: str = "") -> str:
    """A name that SPSS takes, as like `stem + suffix` as can be; a name that is too long loses the end of its stem."""
    allowed, ending = ("".join(c if _is_of_names(c) else "_" for c in part) for part in (stem, suffix))
    if not ending:
        allowed = allowed.rstrip("._")
    if not allowed or not _is_letter(allowed[0]) or (allowed + ending).upper() in _RESERVED:
        allowed = "V_" + allowed.lstrip("_")
    shortened = cut(allowed, NAME_BYTES - len(ending.encode()))
    return (shortened + ending if ending else shortened.rstrip("._")) or "V"


def unique_names(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """A valid name for each (stem, suffix), no two alike without regard to case.

    Names that are valid as they stand keep them; the others give way with `_2`, `_3` and so on, in file order.
    """
    proposed = [valid_name(*one) for one in wanted]
    names = [""] * len(wanted)
    taken: set[str] = set()
    in_turn = sorted(range(len(wanted)), key=lambda at: proposed[at] != "".join(wanted[at]))
    # Where the search for a free number goes on, lest a thousand alike take a million steps.
    next_number: dict[str, int] = {}
    for at in in_turn:
        name, key = proposed[at], proposed[at].casefold()
        number = next_number.get(key, 2)
        while name.casefold() in taken:
            name = valid_name(proposed[at], f"_{number}")
            number += 1
        next_number[key] = number
        taken.add(name.casefold())
        names[at] = name
    return names


def missing_of(choices: Sequence[Choice]) -> tuple[Missing, tuple[int, ...]]:
    """How the user-missing choices are declared, and the codes of those that cannot be.

    More than three need a range, which must take in no choice that is an answer; one more value may stand outside it.
    """
    codes = sorted({choice.code for choice in choices if choice.missing})
    answers = {choice.code for choice in choices if not choice.missing}
    if len(codes) <= _DISCRETE_MISSING:
        return Missing(tuple(codes)), ()
    for ranged, alone in ((codes, ()), (codes[1:], (codes[0],)), (codes[:-1], (codes[-1],))):
        if not any(ranged[0] <= answer <= ranged[-1] for answer in answers):
            return Missing(alone, (ranged[0], ranged[-1])), ()
    return Missing(tuple(codes[:_DISCRETE_MISSING])), tuple(codes[_DISCRETE_MISSING:])


def number_format(low: float | None, high: float | None, decimals: int) -> str:
    """The print format of numbers between `low` and `high`: F8 with the decimals, wider when they need it."""
    if low is None or high is None:
        return f"F8.{decimals}"
    digits = max(len(f"{bound:.{decimals}f}") for bound in (low, high))
    width = min(max(8, digits, decimals + 2), _WIDEST_NUMBER)
    return f"F{width}.{min(decimals, width - 2)}"


def plan(columns: Sequence[Column], measured: Sequence[Mapping[str, Any]], zone: str) -> Plan:
    """The dictionary for these columns.

    `measured` holds for each column what `spss_file.measurements` asks for; `zone` is named in labels of datetimes.
    Names depend on the columns alone, so that they are the same on each run.
    """
    drafts = [
        (draft, suffix)
        for at, (column, found) in enumerate(zip(columns, measured, strict=True))
        for draft, suffix in _drafts(column, at, found)
    ]
    names = unique_names([(columns[draft.column].name, suffix) for draft, suffix in drafts])
    warnings: list[str] = []
    variables: list[Variable] = []
    for (draft, suffix), name in zip(drafts, names, strict=True):
        column = columns[draft.column]
        label, is_cut = variable_label(
            draft.label, column.name + suffix, name, zone if column.type == "datetime" else ""
        )
        if is_cut:
            warnings.append(f"{column.name}: the label of {name} is cut to {LABEL_BYTES} bytes")
        variables.append(replace(draft, name=name, label=label))
    for column, found in zip(columns, measured, strict=True):
        warnings.extend(_losses(column, found))
    return Plan(tuple(variables), tuple(_sets(columns, variables)), tuple(warnings))


def variable_label(label: str, original: str, name: str, zone: str) -> tuple[str, bool]:
    """The variable's label, with the zone of its wall clock and the original of a changed name; and whether it is cut.

    Only the label itself is cut to make room.
    """
    original = without_nul(original)
    label = without_nul(label) or original
    notes = (f" ({zone})" if zone else "") + (f" [{original}]" if original not in (name, label) else "")
    whole = label + notes
    if len(whole.encode()) <= LABEL_BYTES:
        return whole, False
    notes = cut(notes, LABEL_BYTES)
    return cut(label, LABEL_BYTES - len(notes.encode())) + notes, True


def without_nul(text: str) -> str:
    """The text without NUL, which would end it."""
    return text.replace("\0", "")


def _drafts(column: Column, at: int, found: Mapping[str, Any]) -> Iterator[tuple[Variable, str]]:
    """The variables of a column, still with its own label and without a name, and the ends of their names."""
    if column.type == "choices" and column.choices:
        for code, label in _value_labels(column.choices):
            labels = ((0, "No"), (1, "Yes"))
            whole = f"{column.label or column.name}: {label}"
            yield Variable("", whole, at, "F8.0", "nominal", code=code, value_labels=labels), f"_{code}"
        return
    draft = Variable("", column.label, at, "F8.0", "scale")
    match column.type:
        case "text" | "choices":
            width = min(max(found["bytes"] or 0, 1), TEXT_BYTES)
            draft = replace(draft, format=f"A{width}", width=width, measure="nominal")
        case "boolean":
            draft = replace(draft, measure="nominal", value_labels=((0, "false"), (1, "true")))
        case "choice":
            missing, _ = missing_of(column.choices)
            draft = replace(draft, measure="nominal", value_labels=_value_labels(column.choices), missing=missing)
        case "integer":
            draft = replace(draft, format=number_format(found["low"], found["high"], 0))
        case "number":
            decimals = column.decimals if column.decimals is not None else 2 if found["fractional"] else 0
            draft = replace(draft, format=number_format(found["low"], found["high"], decimals))
        case "date":
            draft = replace(draft, format="DATE11")
        case "datetime":
            draft = replace(draft, format="DATETIME20")
    yield draft, ""


def _value_labels(choices: Sequence[Choice]) -> tuple[tuple[int, str], ...]:
    """Each code once, with its label in the bytes that SPSS allows."""
    labels: dict[int, str] = {}
    for choice in choices:
        labels.setdefault(choice.code, cut(without_nul(choice.label), VALUE_LABEL_BYTES) or str(choice.code))
    return tuple(labels.items())


def _sets(columns: Sequence[Column], variables: Sequence[Variable]) -> Iterator[ResponseSet]:
    """A set for each multiple choice of two choices or more; the name of a set begins with `$`."""
    members: dict[int, list[str]] = {}
    for variable in variables:
        if variable.code is not None:
            members.setdefault(variable.column, []).append(variable.name)
    members = {at: names for at, names in members.items() if len(names) > 1}
    names = unique_names([(cut(columns[at].name, NAME_BYTES - 1), "") for at in members])
    for (at, variable_names), name in zip(members.items(), names, strict=True):
        label = cut(without_nul(columns[at].label or columns[at].name), LABEL_BYTES)
        yield ResponseSet("$" + cut(name, NAME_BYTES - 1), label, tuple(variable_names))


def _losses(column: Column, found: Mapping[str, Any]) -> Iterator[str]:
    """A warning for each way in which values, labels or missing marks of the column are not in the file as they are."""
    date = f"before {FIRST_DATE} or after {LAST_DATE}"
    said = {
        "nuls": ("had NUL characters, which are taken out",) * 2,
        "long": (f"is cut to {TEXT_BYTES:,} bytes", f"are cut to {TEXT_BYTES:,} bytes"),
        "trailing": ("ends in spaces, which SPSS does not keep", "end in spaces, which SPSS does not keep"),
        "empty": ("is an empty text, which SPSS reads as missing", "are empty texts, which SPSS reads as missing"),
        "inexact": ("past 2^53 is rounded", "past 2^53 are rounded"),
        "outside": (
            "is no number that SPSS holds and is left empty",
            "are no numbers that SPSS holds and are left empty",
        )
        if column.type == "number"
        else (f"{date} is left empty", f"{date} are left empty"),
        "unknown": ("has choices without a definition, which are left out",) * 2,
    }
    for kind, (one, many) in said.items():
        if count := found.get(kind, 0):
            yield f"{column.name}: {counted(count, one, many)}"
    if column.type in ("choice", "choices"):
        yield from _lost_labels(column)


def _lost_labels(column: Column) -> Iterator[str]:
    """Warnings of value labels that are cut, of NULs in them, and of codes that cannot be declared missing."""
    labels = [choice.label for choice in column.choices]
    if long := sum(len(without_nul(label).encode()) > VALUE_LABEL_BYTES for label in labels):
        yield f"{column.name}: {long} value label{'s are' if long > 1 else ' is'} cut to {VALUE_LABEL_BYTES} bytes"
    if nuls := sum("\0" in label for label in labels):
        yield f"{column.name}: {nuls} value label{'s' if nuls > 1 else ''} had NUL characters, which are taken out"
    _, undeclared = missing_of(column.choices)
    if column.type == "choice" and undeclared:
        codes = ", ".join(map(str, undeclared))
        yield f"{column.name}: SPSS has no room to declare the codes {codes} missing; they read as answers"

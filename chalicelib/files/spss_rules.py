"""What SPSS asks of a data set, decided: names, labels, widths, formats and missing values, and what is lost by them.

The limits are those of the SPSS manual; the file layout is PSPP's description of system files
(https://www.gnu.org/software/pspp/pspp-dev/html_node/System-File-Format.html). What IBM asks beyond it (the short names
of segments, which names are the same) was measured with IBM's own input/output library, version 29.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby, islice
from types import MappingProxyType
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

# The widths of texts, and those in which numbers are shown. They come in steps, for SPSS joins two files only where
# their texts are equally wide. None is a multiple of 252, for which IBM and ReadStat lay out the last segment unlike.
TEXT_WIDTHS = (64, 256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, TEXT_BYTES)
NUMBER_WIDTHS = (8, 12, 16, 20)
# A text longer than this is stored in segments of 255 bytes, each padded to 256; the number of them counts by 252.
SEGMENT, SEGMENT_STEP = 255, 252
_SHORT_NAME_BYTES, _STEM_BYTES = 8, 5
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Lower-case letters whose upper case is newer than Unicode 10, which IBM's library knows: it leaves them as they are.
_WITHOUT_UPPER_CASE = re.compile(
    "[\u0282\u10d0-\u10ff\u1d8e\u2c5f\ua794\ua7b9-\ua7f6\U00010597-\U000105bc\U00016e60-\U00016e7f]"
)

_RESERVED = frozenset(["ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"])
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
    `segments` are the short names of the segments of a very long text but the first.
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
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseSet:
    """A multiple dichotomy set: the variables of one multiple choice, each counted where it is 1."""

    name: str
    label: str
    variables: tuple[str, ...]


# What earlier files of an export had: the name and the format of the variable of each column and, for a multiple
# choice, code.
type Promise = Mapping[tuple[str, int | None], tuple[str, str]]


NOTHING: Promise = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole dictionary, what the file cannot say of the data, and what later files are to keep."""

    variables: tuple[Variable, ...]
    sets: tuple[ResponseSet, ...]
    warnings: tuple[str, ...]
    promise: Promise


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


def upper(text: str) -> str:
    """The text in upper case as IBM's library writes it: letter by letter, so that "ß" stays."""
    return "".join(map(_upper, text))


def _upper(letter: str) -> str:
    if not _WITHOUT_UPPER_CASE.match(letter):
        for changed in (letter.upper(), letter.title()):
            if len(changed) == 1:
                return changed
    return letter


def alike(name: str) -> str:
    """What two names share when a reader takes them for the same: IBM by upper case, PSPP by case folding and NFKD."""
    if name.isascii():
        return name.lower()
    folded = unicodedata.normalize("NFKD", upper(name)).casefold()
    return unicodedata.normalize("NFKD", folded)


def unique_names(
    wanted: Sequence[tuple[str, str]], held: Sequence[str | None] = (), reserved: Collection[str] = ()
) -> list[str]:
    """A valid name for each (stem, suffix), no two `alike`, and none like a reserved one.

    A name that is held already stays. Names that are valid as they stand keep them; the others give way with `_2`, `_3`
    and so on, in file order.
    """
    proposed = [valid_name(*one) for one in wanted]
    names = [name or "" for name in held] or [""] * len(wanted)
    taken = {alike(name) for name in (*reserved, *names) if name}
    in_turn = sorted(range(len(wanted)), key=lambda at: proposed[at] != "".join(wanted[at]))
    # Where the search for a free number goes on, lest a thousand alike take a million steps.
    next_number: dict[str, int] = {}
    for at in in_turn:
        if names[at]:
            continue
        name, key = proposed[at], alike(proposed[at])
        number = next_number.get(key, 2)
        while alike(name) in taken:
            name = valid_name(proposed[at], f"_{number}")
            number += 1
        next_number[key] = number
        taken.add(alike(name))
        names[at] = name
    return names


def short_names(names: Sequence[str]) -> list[str]:
    """The short name, of eight bytes at most, that each variable of these (long) names has in the file.

    None is like a long name: PSPP gives the long names one after the other, and refuses one that a later variable still
    has as its short name.
    """
    taken = set(map(alike, names))
    free = (short for short in (f"V{_base36(number):0>4}" for number in count()) if alike(short) not in taken)
    return list(islice(free, len(names)))


def segment_count(width: int) -> int:
    """How many segments a text of this width is stored in."""
    return -(-width // SEGMENT_STEP) if width > SEGMENT else 1


def segment_names(
    names: Sequence[str], widths: Sequence[int], first: Collection[int] = ()
) -> dict[int, tuple[str, ...]]:
    """The short names of the further segments of each very long text, by its position; those in `first` come first.

    IBM's library puts segments together only by the rule with which it writes them: the first five bytes of the long
    name in upper case, and a count in base 36. A text for which no such names are left has no entry.
    """
    taken = set(map(alike, (*names, *short_names(names))))
    counts: dict[str, int] = {}
    found: dict[int, tuple[str, ...]] = {}
    long = (at for at, width in enumerate(widths) if width > SEGMENT)
    for at in sorted(long, key=lambda at: (at not in first, at)):
        stem = cut(upper(names[at]), _STEM_BYTES)
        free, count = _free_names(stem, counts.get(stem, 0), segment_count(widths[at]) - 1, taken)
        if free:
            found[at], counts[stem] = free, count
            taken.update(map(alike, free))
    return found


def _free_names(stem: str, count: int, wanted: int, taken: Collection[str]) -> tuple[tuple[str, ...], int]:
    """So many free names from this count on, and the next count; no name when there are not so many."""
    free: list[str] = []
    room = 36 ** (_SHORT_NAME_BYTES - len(stem.encode()))
    while len(free) < wanted:
        if count >= room:
            return (), count
        name = stem + _base36(count)
        count += 1
        if alike(name) not in taken:
            free.append(name)
    return tuple(free), count


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


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
    """The print format of numbers between `low` and `high`: F8 with the decimals, in steps wider when they need it."""
    bounds = [bound for bound in (low, high) if bound is not None]
    digits = max((len(f"{bound:.{decimals}f}") for bound in bounds), default=0)
    width = _step(max(digits, decimals + 2), NUMBER_WIDTHS)
    return f"F{width}.{min(decimals, width - 2)}"


def text_width(size: int, limit: int = 0) -> int:
    """The width, in bytes, of a text whose longest value has `size` bytes; `limit`: that of its kind, if any."""
    return limit if limit and size <= limit else _step(size, TEXT_WIDTHS)


def _step(size: int, steps: Sequence[int]) -> int:
    return next((step for step in steps if step >= size), steps[-1])


def plan(
    columns: Sequence[Column], measured: Sequence[Mapping[str, Any]], zone: str, before: Promise = NOTHING
) -> Plan:
    """The dictionary for these columns.

    `measured` holds for each column what `spss_file.measurements` asks for; `zone` is named in labels of datetimes;
    `before` is what earlier files had: names stay, widths only grow. Names depend on the columns alone, so that they
    are the same on each run.
    """
    drafts = [
        (draft, suffix)
        for at, (column, found) in enumerate(zip(columns, measured, strict=True))
        for draft, suffix in _drafts(column, at, found)
    ]
    keys = [(columns[draft.column].name, draft.code) for draft, _ in drafts]
    held = [before[key][0] if key in before else None for key in keys]
    gone = [before[key][0] for key in before.keys() - set(keys)]
    names = unique_names([(columns[draft.column].name, suffix) for draft, suffix in drafts], held, gone)
    formats = [before[key][1] if key in before else None for key in keys]
    sized = [_widened(draft, earlier) for (draft, _), earlier in zip(drafts, formats, strict=True)]
    warnings: list[str] = []
    variables: list[Variable] = []
    for sized_one, (_, suffix), name in zip(_segmented(sized, names, formats), drafts, names, strict=True):
        column = columns[sized_one.column]
        label, is_cut = variable_label(
            sized_one.label, column.name + suffix, name, zone if column.type == "datetime" else ""
        )
        if is_cut:
            warnings.append(f"{column.name}: the label of {name} is cut to {LABEL_BYTES} bytes")
        variables.append(replace(sized_one, name=name, label=label))
    for column, found in zip(columns, measured, strict=True):
        warnings.extend(_losses(column, found))
    for variable, earlier, wanted in zip(variables, formats, sized, strict=True):
        warnings.extend(_changes(columns[variable.column], variable, earlier, wanted.width))
    promise = {**before, **{key: (one.name, one.format) for key, one in zip(keys, variables, strict=True)}}
    return Plan(tuple(variables), tuple(_sets(columns, variables)), tuple(warnings), promise)


def _widened(draft: Variable, earlier: str | None) -> Variable:
    """The variable at least as wide as earlier files had it, if it was of the same kind."""
    if earlier is None or draft.format[0] != earlier[0] or draft.format[0] not in "AF":
        return draft
    width, decimals = map(max, _sizes(draft.format), _sizes(earlier))
    if draft.width:
        return replace(draft, format=f"A{width}", width=width)
    return replace(draft, format=f"F{width}.{decimals}")


def covers(promise: Promise, before: Promise) -> bool:
    """Whether a file with this promise has every name of the one before, and is nowhere narrower."""
    return all(
        key in promise and promise[key][0] == name and not _narrower(promise[key][1], format)
        for key, (name, format) in before.items()
    )


def _narrower(format: str, earlier: str) -> bool:
    """Whether of two formats of one kind the first has less room in any way."""
    if format[0] != earlier[0] or format[0] not in "AF":
        return False
    return any(now < was for now, was in zip(_sizes(format), _sizes(earlier), strict=True))


def promise_rows(promise: Promise) -> list[Any]:
    """The promise as JSON holds it: a row for each column, with its variables as [code, name, format], and the first
    and the last of each run of codes whose variables are F8.0 and named `<column>_<code>`: there may be a hundred
    thousand of them."""
    columns: dict[str, tuple[list[Any], list[int]]] = {}
    for (column, code), (name, format) in promise.items():
        variables, codes = columns.setdefault(column, ([], []))
        if isinstance(code, int) and (name, format) == (f"{column}_{code}", "F8.0"):
            codes.append(code)
        else:
            variables.append([code, name, format])
    return [[column, variables, list(_runs(codes))] for column, (variables, codes) in columns.items()]


def promise_of(rows: Sequence[Any]) -> Promise:
    """The promise that `promise_rows` was given."""
    promise: dict[tuple[str, int | None], tuple[str, str]] = {}
    for column, variables, runs in rows:
        promise.update({(column, code): (name, format) for code, name, format in variables})
        for first, last in runs:
            promise.update({(column, code): (f"{column}_{code}", "F8.0") for code in range(first, last + 1)})
    return promise


def _runs(codes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of consecutive codes."""
    for _, run in groupby(enumerate(sorted(codes)), lambda one: one[1] - one[0]):
        numbers = [code for _, code in run]
        yield numbers[0], numbers[-1]


def _sizes(format: str) -> tuple[int, int]:
    """The width and the decimals of an A or F format."""
    width, _, decimals = format[1:].partition(".")
    return int(width), int(decimals or 0)


def _segmented(variables: Sequence[Variable], names: Sequence[str], formats: Sequence[str | None]) -> list[Variable]:
    """The variables with the names of their segments; texts for which there are none are of one segment."""
    widths = [variable.width for variable in variables]
    first = {at for at, earlier in enumerate(formats) if earlier and earlier[0] == "A" and _sizes(earlier)[0] > SEGMENT}
    found = segment_names(names, widths, first)
    return [
        replace(one, width=SEGMENT, format=f"A{SEGMENT}")
        if one.width > SEGMENT and at not in found
        else replace(one, segments=found.get(at, ()))
        for at, one in enumerate(variables)
    ]


def _changes(column: Column, variable: Variable, earlier: str | None, wanted: int) -> Iterator[str]:
    """Warnings of a variable that is wider than in earlier files, or narrower than its values."""
    if wanted > variable.width:
        yield (
            f"{column.name}: texts are cut to {SEGMENT} bytes, because SPSS has no short names left for the segments "
            "of so many very long texts whose names begin alike; give them names that differ in the first five letters"
        )
    if earlier is None or variable.format[0] != earlier[0] or variable.format == earlier:
        return
    if variable.width:
        yield (
            f"{column.name}: the text {variable.name} is {variable.width:,} bytes wide from this run on, "
            f"{_sizes(earlier)[0]:,} before. SPSS joins this file with earlier ones (ADD FILES) after "
            f"ALTER TYPE {variable.name} (A{variable.width}) in those"
        )
    else:
        yield f"{column.name}: {variable.name} is shown as {variable.format} from this run on, as {earlier} before"


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
            width = text_width(found["bytes"] or 0, column.bytes)
            draft = replace(draft, format=f"A{width}", width=width, measure="nominal")
        case "boolean":
            draft = replace(draft, measure="nominal", value_labels=((0, "false"), (1, "true")))
        case "choice":
            missing, _ = missing_of(column.choices)
            draft = replace(draft, measure="nominal", value_labels=_value_labels(column.choices), missing=missing)
        case "integer":
            draft = replace(draft, format=number_format(found["low"], found["high"], 0))
        case "number":
            # Not fewer where all are whole: tomorrow's may not be.
            decimals = 2 if column.decimals is None else column.decimals
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

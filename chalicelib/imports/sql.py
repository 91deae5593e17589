"""What of an import's file is surely good, as SQL, and what a cell of text is: the two sides of one set of rules."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.datasets import codes
from chalicelib.intake import events
from chalicelib.lake import layout

# Whole numbers that a double holds and decimals that it shows as they were written: others stay texts.
_WHOLE = r"(0|-?[1-9][0-9]{0,14})"
_DECIMAL = r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,20}"
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
# How programs write what is no number in a column of numbers: missing, and past all numbers.
_NOT_FINITE = ("NaN", "nan", "inf", "-inf", "+inf", "Infinity", "-Infinity", "+Infinity")
_TEXTS = ("conversation_id", "question_id")
# Kinds whose values are texts in SQL.
_TEXTUAL = ("cell", "text", "digits")


@dataclass(frozen=True, slots=True)
class Source:
    """Rows to be judged: a SELECT with `line`, and its columns: name in the file, name in the SELECT, and kind.

    A kind is `cell` (a text that may stand for a number ...), `text`, `digits` (the text of a number), `boolean`,
    `json` (a value of JSON that is not null) or `other`. A row can only be sure where `condition` holds; `params` is
    the column that has an event's params as a JSON object, where they are no columns of their own.
    """

    relation: str
    columns: tuple[tuple[str, str, str], ...]
    condition: str = "true"
    params: str | None = None


@dataclass(frozen=True, slots=True)
class Sure:
    """Which rows are good beyond doubt, and the columns of the lake made of them."""

    condition: str
    columns: str


def normal(column: str, kind: str, stored: str = "") -> tuple[str, str]:
    """The SQL of a Parquet column, given as SQL, and its kind; `kind` is its DuckDB type, `stored` that of the file.

    Numbers become their own digits: a double would change the long ones.
    """
    match kind.partition("(")[0]:
        case "VARCHAR":
            return column, "text"
        case "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "UTINYINT" | "USMALLINT" | "UINTEGER" | "UBIGINT":
            return f"CAST({column} AS VARCHAR)", "digits"
        case "DECIMAL":
            # DuckDB leaves out the zero before the point where no digit may stand there.
            return f"regexp_replace(CAST({column} AS VARCHAR), '^(-?)\\.', '\\10.')", "digits"
        case "FLOAT" | "DOUBLE":
            # A FLOAT has fewer digits than the double it would become. NaN is how data frames say that it is missing.
            return f"CASE WHEN NOT isnan({column}) THEN CAST({column} AS VARCHAR) END", "digits"
        case "BOOLEAN":
            return column, "boolean"
        case "DATE" | "UUID":
            return f"CAST({column} AS VARCHAR)", "text"
        case "TIMESTAMP WITH TIME ZONE":
            return f"strftime(make_timestamp(epoch_us({column})), '%Y-%m-%dT%H:%M:%S.%fZ')", "text"
        case "TIMESTAMP" if stored == "INT96":
            # Spark's, Hive's and Impala's instants: in UTC, though the type has no place to say so.
            return f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ')", "text"
        case "TIMESTAMP" | "TIMESTAMP_S" | "TIMESTAMP_MS" | "TIMESTAMP_NS":
            # Without its offset, which the API's rules then miss.
            return f"strftime(CAST({column} AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%f')", "text"
    return column, "other"


def param(name: str, text: str) -> Any:
    """What a cell of an event's param holds: a number or a boolean where that loses nothing, else the text."""
    if name in _TEXTS:
        return text
    if text in _NOT_FINITE:
        return None if "n" in text[:1].lower() else float(text)
    number = digits(text)
    return {"true": True, "false": False}.get(text, text) if number is None else number


def digits(text: str) -> int | float | None:
    """The number that shows itself in just these digits, None when there is none: then they stay a text."""
    if re.fullmatch(_WHOLE, text):
        return int(text)
    return float(text) if re.fullmatch(_DECIMAL, text) and repr(float(text)) == text else None


def attribute_value(attribute: Attribute, text: str) -> Any:
    """What a cell of an attribute holds, as the API would be given it: None for an empty one of no text attribute."""
    kind = attribute.column.type
    if kind == "text":
        return text
    if text == "":
        return None
    if kind == "number" and re.fullmatch(_NUMBER, text):
        return _number(text)
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "choice":
        return _choice(attribute, text)
    if kind == "choices":
        return [_choice(attribute, member) for member in text.split(";")]
    return text


def _number(text: str) -> int | float | Decimal:
    """The number; a Decimal where a double would have other digits."""
    if re.fullmatch(r"-?[0-9]{1,310}", text):
        return int(text)
    value = float(text)
    return value if math.isinf(value) or Decimal(repr(value)) == Decimal(text) else Decimal(text)


def _choice(attribute: Attribute, text: str) -> str | int:
    labels = {choice.label for choice in attribute.choices}
    return int(text) if text not in labels and re.fullmatch(r"-?[0-9]{1,10}", text) else text


def sure(kind: layout.Kind, source: Source, catalog: Catalog, accepted: str, arrival: str) -> Sure:
    """The condition and the columns for a file of that kind."""
    by_name = {name: (column, of) for name, column, of in source.columns}
    if kind == "participants":
        found = _participants(by_name, catalog, (accepted, arrival))
    else:
        found = _events(by_name, accepted, source.params)
    return Sure(f"({source.condition}) AND {found.condition}", found.columns)


# What another reader of JSON lets through or changes, and so is left to the strict one: control characters, NUL,
# NaN and Infinity, commas before a bracket, numbers that a double rounds or writes in other digits.
_ODD_JSON = (
    r"[\x00-\x1f]|\\u0000|,\s*[}\]]|[:\[,]\s*-?(N|n[^u]|I|i)"
    r"|[:\[,]\s*-?([0-9]{16}|0\.0000|[0-9]*\.[0-9]{13}|[0-9.]+[eE])|[:\[,]\s*-0"
)


def lines(path: str, kind: layout.Kind, catalog: Catalog) -> Source:
    """The rows of an NDJSON file that has neither empty lines nor carriage returns, its `line`s and their texts `t`."""
    text = (
        f"SELECT row_number() OVER () AS line, t FROM read_csv('{path}', auto_detect = false, header = false, "
        "delim = chr(31), quote = '', escape = '', new_line = '\\n', columns = {'t': 'VARCHAR'}, "
        "max_line_size = 20971520, buffer_size = 33554432)"
    )
    plain = f"NOT regexp_matches(t, '{_ODD_JSON}') AND json_valid(t)"
    guarded = f"SELECT line, t, CASE WHEN {plain} THEN t END AS g FROM ({text})"
    return _json_events(guarded) if kind == "events" else _json_people(guarded, catalog)


def _json_events(guarded: str) -> Source:
    texts = ("event_id", "participant_id", "name", "occurred_at")
    inner = ("conversation_id", "question_id")
    paths = [*(f"/{name}" for name in texts), *(f"/params/{name}" for name in inner), "/params"]
    found = _extracted(guarded, paths)
    is_text = " AND ".join(f"types[{n}] = 'VARCHAR'" for n in range(1, 5))
    condition = (
        f"json_type(g) = 'OBJECT' AND {_keys('g', (*texts, 'params'))} AND {is_text} AND (types[7] IS NULL OR "
        "(types[7] = 'OBJECT' AND NOT contains(substr(parts[7], 2), '{') AND NOT contains(parts[7], '[') "
        "AND len(json_keys(parts[7])) = len(list_distinct(json_keys(parts[7])))))"
    )
    columns = [(name, _text_at(n), "text") for n, name in enumerate(texts, 1)]
    columns += [(f"params.{name}", _text_at(n), "text") for n, name in enumerate(inner, 5)]
    return _staged(found, columns, condition, "coalesce(CAST(parts[7] AS VARCHAR), '{}')")


def _json_people(guarded: str, catalog: Catalog) -> Source:
    required = ("participant_id", "membership")
    optional = ("email", "created_at", "subscribed_at", "subscription_ended_at", "updated_at")
    names = list(catalog.attributes)
    paths = [
        *(f"/{name}" for name in (*required, *optional)),
        "/attributes",
        *(f"/attributes/{name}" for name in names),
    ]
    found = _extracted(guarded, paths)
    is_text = " AND ".join(f"types[{n}] = 'VARCHAR'" for n in (1, 2))
    may_be_text = " AND ".join(f"coalesce(types[{n}] IN ('VARCHAR', 'NULL'), true)" for n in range(3, 8))
    condition = (
        f"json_type(g) = 'OBJECT' AND {_keys('g', (*required, *optional, 'attributes'))} AND {is_text} "
        f"AND {may_be_text} AND (coalesce(types[8], 'NULL') = 'NULL' "
        f"OR (types[8] = 'OBJECT' AND {_keys('parts[8]', names)}))"
    )
    columns = [(name, _text_at(n), "text") for n, name in enumerate((*required, *optional), 1)]
    columns += [
        (f"attributes.{name}", f"CASE WHEN types[{n}] <> 'NULL' THEN parts[{n}] END", "json")
        for n, name in enumerate(names, 9)
    ]
    return _staged(found, columns, condition, None)


def _extracted(guarded: str, paths: list[str]) -> str:
    asked = f"[{', '.join(_quoted(path) for path in paths)}]"
    return f"SELECT line, t, g, json_type(g, {asked}) AS types, json_extract(g, {asked}) AS parts FROM ({guarded})"


def _staged(found: str, columns: list[tuple[str, str, str]], condition: str, params: str | None) -> Source:
    picked = [f"{sql} AS c{n}" for n, (_, sql, _) in enumerate(columns)]
    picked += [f"{params} AS params"] if params else []
    relation = f"SELECT line, t, coalesce({condition}, false) AS is_shaped, {', '.join(picked)} FROM ({found})"
    named = tuple((name, f"c{n}", kind) for n, (name, _, kind) in enumerate(columns))
    return Source(relation, named, "is_shaped", "params" if params else None)


def _text_at(n: int) -> str:
    return f"CASE WHEN types[{n}] = 'VARCHAR' THEN parts[{n}] ->> '$' END"


def _keys(value: str, known: Iterable[str]) -> str:
    """Whether the object has known keys only, and each once."""
    keys = f"json_keys({value})"
    names = ", ".join(_quoted(name) for name in known)
    return f"len({keys}) = len(list_distinct({keys})) AND list_has_all([{names}]::VARCHAR[], {keys})"


def _participants(columns: Mapping[str, tuple[str, str]], catalog: Catalog, arrived: tuple[str, str]) -> Sure:
    accepted, arrival = arrived
    conditions = [_id(columns["participant_id"]), _membership(columns["membership"])]
    email, of = columns.get("email", ("CAST(NULL AS VARCHAR)", "text"))
    conditions.append(_null_or(email, f"length({email}) <= 320 AND {_no_nul(email)}" if of in _TEXTUAL else "false"))
    instants = {}
    for name in ("created_at", "subscribed_at", "subscription_ended_at", "updated_at"):
        column, of = columns.get(name, ("CAST(NULL AS VARCHAR)", "text"))
        conditions.append(_null_or(column, _is_instant(column) if of in _TEXTUAL else "false"))
        instants[name] = _instant(column) if of in _TEXTUAL else "CAST(NULL AS TIMESTAMP)"
    instants["updated_at"] = f"coalesce({instants['updated_at']}, TIMESTAMP '{arrival[:-1].replace('T', ' ')}')"
    members = []
    for name, (column, of) in columns.items():
        if name.startswith("attributes."):
            good, value = _attribute(catalog.attributes[name.removeprefix("attributes.")], column, of)
            conditions.append(_null_or(column, good))
            members.append((name.removeprefix("attributes."), column, value))
    picked = ", ".join(f"{sql} AS {name}" for name, sql in instants.items())
    return Sure(
        " AND ".join(f"({one})" for one in conditions),
        f"'{accepted}' AS accepted, CAST(line AS INTEGER) AS line, CAST({catalog.version} AS INTEGER) AS catalog, "
        f"{columns['participant_id'][0]} AS participant_id, {email} AS email, "
        f"{columns['membership'][0]} AS membership, {picked}, {_object(members)} AS attributes",
    )


def _events(columns: Mapping[str, tuple[str, str]], accepted: str, params: str | None) -> Sure:
    conditions = [_id(columns["participant_id"]), _label(columns["event_id"]), _label(columns["name"])]
    occurred_at, of = columns["occurred_at"]
    conditions.append(_is_instant(occurred_at) if of in _TEXTUAL else "false")
    name = columns["name"][0]
    if columns["name"][1] not in _TEXTUAL:
        name = "CAST(NULL AS VARCHAR)"
    is_talk = f"{name} IN ({', '.join(_quoted(word) for word in sorted(events.PARTICIPATION))})"
    conversation = _needed(columns.get("params.conversation_id"))
    question = _needed(columns.get("params.question_id"))
    conditions.append(f"NOT {is_talk} OR {conversation[0]}")
    conditions.append(f"{name} <> 'question_answered' OR {question[0]}")
    members = []
    for title, (column, kind) in columns.items():
        if title.startswith("params.") and params is None:
            good, value = _param(title.removeprefix("params."), column, kind)
            conditions.append(_null_or(column, good))
            members.append((title.removeprefix("params."), column, value))
    alias = " ".join(
        f"WHEN {_quoted(word)} THEN {_quoted(canonical)}" for word, canonical in codes.EVENT_ALIASES.items()
    )
    return Sure(
        " AND ".join(f"({one})" for one in conditions),
        f"'{accepted}' AS accepted, CAST(line AS INTEGER) AS line, {columns['event_id'][0]} AS event_id, "
        f"{columns['participant_id'][0]} AS participant_id, CASE {name} {alias} ELSE {name} END AS name, "
        f"{_instant(occurred_at) if of in ('cell', 'text') else 'CAST(NULL AS TIMESTAMP)'} AS occurred_at, "
        f"CASE WHEN {is_talk} THEN {conversation[1]} END AS conversation_id, "
        f"CASE WHEN {name} = 'question_answered' THEN {question[1]} END AS question_id, "
        f"{params or _object(members)} AS params",
    )


def _id(column: tuple[str, str]) -> str:
    return f"regexp_full_match({column[0]}, '[A-Za-z0-9._:@-]{{1,128}}')" if column[1] in _TEXTUAL else "false"


def _membership(column: tuple[str, str]) -> str:
    return f"{column[0]} IN ('subscribed', 'unsubscribed', 'purged', 'one_time')" if column[1] in _TEXTUAL else "false"


def _label(column: tuple[str, str]) -> str:
    text, kind = column
    return f"length({text}) BETWEEN 1 AND 128 AND {_no_nul(text)}" if kind in _TEXTUAL else "false"


def _needed(column: tuple[str, str] | None) -> tuple[str, str]:
    """Whether a param that an event asks for is good beyond doubt, and its text."""
    if column is None or column[1] not in _TEXTUAL:
        return "false", "CAST(NULL AS VARCHAR)"
    return f"coalesce(length({column[0]}) BETWEEN 1 AND 128, false)", column[0]


def _attribute(attribute: Attribute, column: str, kind: str) -> tuple[str, str]:
    """Whether a value that is not NULL is good beyond doubt, and its JSON."""
    of = attribute.column.type
    if kind == "json":
        return _json_attribute(attribute, column)
    is_text = kind in _TEXTUAL
    if is_text and of == "text":
        return f"{_no_nul(column)} AND {_finite(column, kind)}", f"CAST(to_json({column}) AS VARCHAR)"
    if is_text and of == "date":
        is_shaped = f"regexp_full_match({column}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')"
        good = f"{is_shaped} AND TRY_CAST({column} AS DATE) >= DATE '0001-01-01'"
        return good, f"'\"' || {column} || '\"'"
    if is_text and of == "datetime":
        instant = _instant(column)
        return (
            f"{_is_instant(column)} AND {instant} >= TIMESTAMP '1000-01-01'",
            f"'\"' || strftime({instant}, '%Y-%m-%dT%H:%M:%S.%fZ') || '\"'",
        )
    if is_text and of == "number":
        return _is_number(column), column
    if is_text and of == "boolean":
        return f"lower({column}) IN ('true', 'false')", f"lower({column})"
    if is_text and of == "choice":
        # A label that reads like a code is that label.
        code = _looked_up(column, {**_codes(attribute), **_labels(attribute)})
        return f"{code} IS NOT NULL", code
    if kind == "boolean" and of in ("boolean", "text"):
        value = f"CAST({column} AS VARCHAR)"
        return "true", value if of == "boolean" else f"CAST(to_json({value}) AS VARCHAR)"
    return "false", "CAST(NULL AS VARCHAR)"


def _json_attribute(attribute: Attribute, column: str) -> tuple[str, str]:
    is_text, text = f"json_type({column}) = 'VARCHAR'", f"({column} ->> '$')"
    match attribute.column.type:
        case "text" | "date" | "datetime":
            good, value = _attribute(attribute, text, "text")
            return f"{is_text} AND {good}", value
        case "number":
            return f"json_type({column}) IN ('UBIGINT', 'BIGINT', 'DOUBLE')", f"CAST({column} AS VARCHAR)"
        case "boolean":
            return f"json_type({column}) = 'BOOLEAN'", f"CAST({column} AS VARCHAR)"
        case "choice":
            is_whole = f"json_type({column}) IN ('UBIGINT', 'BIGINT')"
            label, code = _looked_up(text, _labels(attribute)), _looked_up(text, _codes(attribute))
            found = f"CASE WHEN {is_text} THEN {label} WHEN {is_whole} THEN {code} END"
            return f"{found} IS NOT NULL", found
    return "false", "CAST(NULL AS VARCHAR)"


def _codes(attribute: Attribute) -> dict[str, int]:
    return {str(choice.code): choice.code for choice in attribute.choices}


def _labels(attribute: Attribute) -> dict[str, int]:
    return {choice.label: choice.code for choice in attribute.choices}


def _looked_up(column: str, codes: Mapping[str, int]) -> str:
    words = " ".join(f"WHEN {_quoted(text)} THEN '{code}'" for text, code in codes.items() if "\0" not in text)
    return f"CASE {column} {words} END"


def _param(name: str, column: str, kind: str) -> tuple[str, str]:
    text = f"CAST(to_json({column}) AS VARCHAR)"
    if kind == "boolean":
        return "true", f"CAST({column} AS VARCHAR)"
    if kind not in _TEXTUAL:
        return "false", "CAST(NULL AS VARCHAR)"
    if kind == "text" or name in _TEXTS:
        return _no_nul(column), text
    is_number = (
        f"regexp_full_match({column}, '{_WHOLE}') "
        f"OR (regexp_full_match({column}, '{_DECIMAL}') AND {_shows_itself(column)})"
    )
    good = f"{_no_nul(column)} AND {column} NOT IN ({', '.join(map(_quoted, _NOT_FINITE))})"
    return good, f"CASE WHEN {is_number} OR {column} IN ('true', 'false') THEN {column} ELSE {text} END"


def _finite(column: str, kind: str) -> str:
    return f"{column} NOT IN ('inf', '-inf')" if kind == "digits" else "true"


def _is_number(column: str) -> str:
    """Whether a text is a number that a double keeps digit by digit: fifteen of them fit into every double."""
    is_shaped = f"regexp_full_match({column}, '-?(0|[1-9][0-9]{{0,14}})(\\.[0-9]+)?')"
    return f"{is_shaped} AND (length({column}) <= 15 OR {_shows_itself(column)})"


def _shows_itself(column: str) -> str:
    return f"CAST(TRY_CAST({column} AS DOUBLE) AS VARCHAR) = {column}"


def _is_instant(column: str) -> str:
    instant = _instant(column)
    return (
        f"regexp_full_match({column}, '{_INSTANT}') AND "
        f"{instant} BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"
    )


def _instant(column: str) -> str:
    """The UTC TIMESTAMP of a text that matches _INSTANT. A cast of the whole text would pass over the offset."""
    minutes = f"(CAST({column}[-5:-4] AS INTEGER) * 60 + CAST({column}[-2:] AS INTEGER))"
    sign = f"CASE WHEN {column}[-6:-6] = '-' THEN 1 ELSE -1 END"
    return (
        f"CASE WHEN {column}[-1:] = 'Z' THEN TRY_CAST({column}[:-2] AS TIMESTAMP) "
        f"WHEN regexp_full_match({column}, '{_INSTANT}') "
        f"THEN TRY_CAST({column}[:-7] AS TIMESTAMP) + to_minutes({sign} * {minutes}) END"
    )


def _null_or(column: str, good: str) -> str:
    return f"{column} IS NULL OR ({good})"


def _no_nul(column: str) -> str:
    return f"NOT contains({column}, chr(0))"


def _object(members: list[tuple[str, str, str]]) -> str:
    """A flat JSON object of the members that are not NULL."""
    if not members:
        return "'{}'"
    parts = ", ".join(
        f"CASE WHEN {column} IS NOT NULL THEN {_quoted(json.dumps(name, ensure_ascii=False) + ':')} || {value} END"
        for name, column, value in members
    )
    return f"'{{' || concat_ws(',', {parts}) || '}}'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

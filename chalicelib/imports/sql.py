"""The SQL that takes what of a file is good beyond doubt: one condition and the columns of the lake."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.base import sizes
from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.datasets import codes
from chalicelib.imports import values
from chalicelib.intake import events
from chalicelib.lake import layout

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MACROS = Path(__file__).with_name("sure.sql")
_NOTHING = "CAST(NULL AS VARCHAR)"
# Kinds whose values are texts in SQL.
_TEXTUAL = ("cell", "text", "digits")
_PERSON = ("created_at", "subscribed_at", "subscription_ended_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `Rows`: the field that it is, its name in the relation, and of which kind its values are.

    A kind is `cell` (a text that may stand for a number ...), `text`, `digits` (the text of a number), `boolean`,
    `texts` (a list of texts), `json` (a value of JSON that is not null) or `other`.
    """

    field: str
    name: str
    kind: str

    @property
    def inner(self) -> str:
        """The name of the attribute or param, "" where it is neither."""
        return self.field.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to be judged: a SELECT with `number`, which counts them from 1, and these columns.

    A row can only be sure where `condition` holds; `params` is the column that has an event's params as a JSON
    object, where they are no columns of their own.
    """

    relation: str
    columns: tuple[Column, ...]
    condition: str = "true"
    params: str | None = None


@dataclass(frozen=True, slots=True)
class Sure:
    """Which rows are good beyond doubt, and the columns of the lake made of them."""

    condition: str
    columns: str


def prepare(con: "DuckDBPyConnection") -> None:
    """Make the macros that the SQL is written in."""
    con.execute(_MACROS.read_text(encoding="utf-8"))


def sure(kind: layout.Kind, rows: Rows, catalog: Catalog, accepted: str, arrival: str) -> Sure:
    """The condition and the columns for rows of that kind."""
    conditions, columns = _events(rows) if kind == "events" else _participants(rows, catalog, arrival)
    conditions = [rows.condition, _is_small(rows), *conditions]
    stored = {"accepted": quoted(accepted), "line": "CAST(number AS INTEGER)", **columns}
    return Sure(
        " AND ".join(f"({one})" for one in conditions), ", ".join(f"{sql} AS {name}" for name, sql in stored.items())
    )


def _is_small(rows: Rows) -> str:
    """Whether a row is surely no larger than it may be; a line of a text file was looked at before."""
    texts = [column.name for column in rows.columns if column.kind in _TEXTUAL]
    if not texts or rows.params:
        return "true"
    lengths = " + ".join(f"coalesce(strlen({name}), 0)" for name in texts)
    return f"{lengths} <= {sizes.MOST_ROW // 2}"


# Participants


def _participants(rows: Rows, catalog: Catalog, arrival: str) -> tuple[list[str], dict[str, str]]:
    by_field = {column.field: column for column in rows.columns}
    person = by_field["participant_id"]
    conditions = [
        _holds("is_participant_id", person),
        _holds("is_membership", by_field["membership"]),
        _optional("is_email", by_field.get("email")),
        *(_optional("is_instant", by_field.get(name)) for name in _PERSON),
    ]
    instants = {name: _instant(by_field.get(name)) for name in _PERSON}
    instants["updated_at"] = f"coalesce({instants['updated_at']}, TIMESTAMP '{arrival[:-1].replace('T', ' ')}')"
    members = []
    for column in rows.columns:
        if column.inner:
            good, value = _attribute(catalog.attributes[column.inner], column)
            conditions.append(f"{column.name} IS NULL OR ({good})")
            members.append((column, value))
    return conditions, {
        "catalog": f"CAST({catalog.version} AS INTEGER)",
        "participant_id": person.name,
        "email": _text(by_field.get("email")),
        "membership": by_field["membership"].name,
        **instants,
        "attributes": _object(members),
    }


def _attribute(attribute: Attribute, column: Column) -> tuple[str, str]:
    """Whether a value that is not NULL is good beyond doubt, and its JSON."""
    if column.kind == "json":
        return _json_attribute(attribute, column.name)
    if column.kind == "boolean" and attribute.column.type in ("boolean", "text"):
        value = f"CAST({column.name} AS VARCHAR)"
        return "true", value if attribute.column.type == "boolean" else f"json_text({value})"
    if column.kind not in _TEXTUAL:
        return "false", _NOTHING
    return _text_attribute(attribute, column.name, is_number=column.kind == "digits")


def _text_attribute(attribute: Attribute, name: str, *, is_number: bool) -> tuple[str, str]:
    match attribute.column.type:
        case "text":
            finite = f" AND {name} NOT IN ('inf', '-inf')" if is_number else ""
            return f"is_short({name}){finite}", f"json_text({name})"
        case "date":
            return f"is_day({name})", f"'\"' || {name}[:10] || '\"'"
        case "datetime":
            # Before the year 1000, strftime and Python differ.
            good = f"is_instant({name}) AND instant_of({name}) >= TIMESTAMP '1000-01-01'"
            return good, f"'\"' || strftime(instant_of({name}), '%Y-%m-%dT%H:%M:%S.%fZ') || '\"'"
        case "number":
            return f"is_number({name})", name
        case "boolean":
            return f"lower({name}) IN ('true', 'false')", f"lower({name})"
        case "choice":
            code = f"code_of({name}, {_spellings(attribute)})"
            return f"{code} IS NOT NULL", code
        case "choices":
            places = f"places_of({name}, {_places(attribute)})"
            return f"{places}[1] > 0", f"codes_at({places}, {_list(_json_code(c.code) for c in attribute.choices)})"
    return "false", _NOTHING


def _spellings(attribute: Attribute) -> str:
    exact = values.spellings(attribute.choices).exact
    usable = {text: code for text, code in exact.items() if "\0" not in text}
    return f"{_list(usable)}, {_list(_json_code(code) for code in usable.values())}"


def _places(attribute: Attribute) -> str:
    at: dict[int | str, int] = {choice.code: place for place, choice in enumerate(attribute.choices, 1)}
    exact = values.spellings(attribute.choices).exact
    usable = {text: code for text, code in exact.items() if "\0" not in text and text == text.strip()}
    return f"{_list(usable)}, [{', '.join(str(at[code]) for code in usable.values())}]"


def _json_code(code: int | str) -> str:
    return json.dumps(code, ensure_ascii=False)


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(quoted(text) for text in texts)}]::VARCHAR[]"


def _json_attribute(attribute: Attribute, name: str) -> tuple[str, str]:
    is_text, text = f"json_type({name}) = 'VARCHAR'", f"({name} ->> '$')"
    match attribute.column.type:
        case "text" | "date" | "datetime":
            good, value = _text_attribute(attribute, text, is_number=False)
            return f"{is_text} AND {good}", value
        case "number":
            return f"json_type({name}) IN ('UBIGINT', 'BIGINT', 'DOUBLE')", f"CAST({name} AS VARCHAR)"
        case "boolean":
            return f"json_type({name}) = 'BOOLEAN'", f"CAST({name} AS VARCHAR)"
        case "choice":
            labels = {choice.label: choice.code for choice in attribute.choices if "\0" not in choice.label}
            whole = {str(choice.code): choice.code for choice in attribute.choices if isinstance(choice.code, int)}
            is_whole = f"json_type({name}) IN ('UBIGINT', 'BIGINT')"
            by_label, by_code = (
                f"code_of({text}, {_list(known)}, {_list(_json_code(code) for code in known.values())})"
                for known in (labels, whole)
            )
            found = f"CASE WHEN {is_text} THEN {by_label} WHEN {is_whole} THEN {by_code} END"
            return f"{found} IS NOT NULL", found
    return "false", _NOTHING


# Events


def _events(rows: Rows) -> tuple[list[str], dict[str, str]]:
    by_field = {column.field: column for column in rows.columns}
    name, occurred_at = _text(by_field["name"]), by_field["occurred_at"]
    is_talk = f"{name} IN ({', '.join(quoted(word) for word in sorted(events.PARTICIPATION))})"
    conversation, question = (_text(by_field.get(f"params.{one}")) for one in values.TEXT_PARAMS)
    members = [(column, _param(column)) for column in rows.columns if column.inner and rows.params is None]
    conditions = [
        _holds("is_participant_id", by_field["participant_id"]),
        _holds("is_label", by_field["event_id"]),
        _holds("is_label", by_field["name"]),
        _holds("is_instant", occurred_at),
        f"NOT {is_talk} OR coalesce(length({conversation}) BETWEEN 1 AND 128, false)",
        f"{name} <> 'question_answered' OR coalesce(length({question}) BETWEEN 1 AND 128, false)",
        *(f"{column.name} IS NULL OR ({good})" for column, (good, _) in members),
    ]
    if len(members) > sizes.MOST_PARAMS:
        held = " + ".join(f"CAST({column.name} IS NOT NULL AS INTEGER)" for column, _ in members)
        conditions.append(f"{held} <= {sizes.MOST_PARAMS}")
    alias = " ".join(f"WHEN {quoted(word)} THEN {quoted(known)}" for word, known in codes.EVENT_ALIASES.items())
    return conditions, {
        "event_id": _text(by_field["event_id"]),
        "participant_id": _text(by_field["participant_id"]),
        "name": f"CASE {name} {alias} ELSE {name} END",
        "occurred_at": _instant(occurred_at),
        "conversation_id": f"CASE WHEN {is_talk} THEN {conversation} END",
        "question_id": f"CASE WHEN {name} = 'question_answered' THEN {question} END",
        "params": rows.params or _object((column, value) for column, (_, value) in members),
    }


def _param(column: Column) -> tuple[str, str]:
    """Whether a value that is not NULL is good beyond doubt, and its JSON."""
    if column.kind == "boolean":
        return "true", f"CAST({column.name} AS VARCHAR)"
    if column.kind == "text" or (column.kind in _TEXTUAL and column.inner in values.TEXT_PARAMS):
        return f"is_short({column.name})", f"json_text({column.name})"
    if column.kind in _TEXTUAL:
        return f"is_param({column.name})", f"param_json({column.name})"
    return "false", _NOTHING


# Both


def _holds(macro: str, column: Column) -> str:
    return f"coalesce({macro}({column.name}), false)" if column.kind in _TEXTUAL else "false"


def _optional(macro: str, column: Column | None) -> str:
    if column is None:
        return "true"
    good = f"{macro}({column.name})" if column.kind in _TEXTUAL else "false"
    return f"{column.name} IS NULL OR {good}"


def _text(column: Column | None) -> str:
    return column.name if column is not None and column.kind in _TEXTUAL else _NOTHING


def _instant(column: Column | None) -> str:
    is_text = column is not None and column.kind in _TEXTUAL
    return f"instant_of({column.name})" if column is not None and is_text else "CAST(NULL AS TIMESTAMP)"


def _object(members: Iterable[tuple[Column, str]]) -> str:
    """A flat JSON object of the members that are not NULL."""
    parts = [
        f"CASE WHEN {column.name} IS NOT NULL THEN "
        f"{quoted(json.dumps(column.inner, ensure_ascii=False) + ':')} || {value} END"
        for column, value in members
    ]
    return f"'{{' || concat_ws(',', {', '.join(parts)}) || '}}'" if parts else "'{}'"


def quoted(text: str) -> str:
    """The text as a SQL string."""
    return "'" + text.replace("'", "''") + "'"


# Rows of NDJSON: lines whose text is the column `t`

# What another reader of JSON lets through or changes, and so is left to the strict one: control characters, NUL,
# NaN and Infinity, commas before a bracket, numbers that a double rounds or writes in other digits.
_ODD_JSON = (
    r"[\x00-\x1f]|\\u0000|,\s*[}\]]|[:\[,]\s*-?(N|n[^u]|I|i)"
    r"|[:\[,]\s*-?([0-9]{16}|0\.0000|[0-9]*\.[0-9]{13}|[0-9.]+[eE])|[:\[,]\s*-0"
)


def of_lines(lines: str, kind: layout.Kind, catalog: Catalog) -> Rows:
    """The rows that the SELECT of `number` and `t` holds as JSON."""
    plain = f"NOT regexp_matches(t, '{_ODD_JSON}') AND json_valid(t)"
    guarded = f"SELECT number, t, CASE WHEN {plain} THEN t END AS g FROM ({lines})"
    return _json_events(guarded) if kind == "events" else _json_people(guarded, catalog)


def _json_events(guarded: str) -> Rows:
    texts = ("event_id", "participant_id", "name", "occurred_at")
    paths = [*(f"/{name}" for name in texts), *(f"/params/{name}" for name in values.TEXT_PARAMS), "/params"]
    is_text = " AND ".join(f"types[{n}] = 'VARCHAR'" for n in range(1, 5))
    condition = (
        f"json_type(g) = 'OBJECT' AND {_keys('g', (*texts, 'params'))} AND {is_text} AND (types[7] IS NULL OR "
        "(types[7] = 'OBJECT' AND NOT contains(substr(parts[7], 2), '{') AND NOT contains(parts[7], '[') "
        "AND len(json_keys(parts[7])) = len(list_distinct(json_keys(parts[7]))) "
        f"AND len(json_keys(parts[7])) <= {sizes.MOST_PARAMS} AND strlen(parts[7]) <= {sizes.MOST_TEXT}))"
    )
    columns = [(name, _text_at(n), "text") for n, name in enumerate(texts, 1)]
    columns += [(f"params.{name}", _text_at(n), "text") for n, name in enumerate(values.TEXT_PARAMS, 5)]
    return _staged(_extracted(guarded, paths), columns, condition, "coalesce(CAST(parts[7] AS VARCHAR), '{}')")


def _json_people(guarded: str, catalog: Catalog) -> Rows:
    required = ("participant_id", "membership")
    optional = ("email", *_PERSON)
    names = list(catalog.attributes)
    paths = [
        *(f"/{name}" for name in (*required, *optional)),
        "/attributes",
        *(f"/attributes/{name}" for name in names),
    ]
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
    return _staged(_extracted(guarded, paths), columns, condition, None)


def _extracted(guarded: str, paths: Sequence[str]) -> str:
    asked = f"[{', '.join(quoted(path) for path in paths)}]"
    return f"SELECT number, t, g, json_type(g, {asked}) AS types, json_extract(g, {asked}) AS parts FROM ({guarded})"


def _staged(found: str, columns: Sequence[tuple[str, str, str]], condition: str, params: str | None) -> Rows:
    picked = [f"{sql} AS c{n}" for n, (_, sql, _) in enumerate(columns)]
    picked += [f"{params} AS params"] if params else []
    relation = f"SELECT number, t, coalesce({condition}, false) AS is_shaped, {', '.join(picked)} FROM ({found})"
    named = tuple(Column(name, f"c{n}", kind) for n, (name, _, kind) in enumerate(columns))
    return Rows(relation, named, "is_shaped", "params" if params else None)


def _text_at(n: int) -> str:
    return f"CASE WHEN types[{n}] = 'VARCHAR' THEN parts[{n}] ->> '$' END"


def _keys(value: str, known: Iterable[str]) -> str:
    """Whether the object has known keys only, and each once."""
    keys = f"json_keys({value})"
    names = ", ".join(quoted(name) for name in known)
    return f"len({keys}) = len(list_distinct({keys})) AND list_has_all([{names}]::VARCHAR[], {keys})"

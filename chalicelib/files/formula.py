"""The formula guard: no cell of a CSV that a spreadsheet would run, whichever separator it reads the file with.

The dangerous characters are OWASP's (https://owasp.org/www-community/attacks/CSV_Injection). One ' goes before a text
that begins with one, and one more wherever one would begin a cell if a separator or line break inside the text split
it. Taking one ' off at each of these places restores every guarded text.
"""

import re

_STARTERS = "=+-@＝＋－＠"
# As a class of a regular expression has them.
_CLASS = _STARTERS.replace("-", "\\-")
# A spreadsheet drops leading spaces and NULs before it looks at the first character.
_DANGEROUS = f"^[ \\x00]*[{_CLASS}\\t\\r\\n']"
_PLAIN_NUMBER = "[+-]?[0-9]+(\\.[0-9]+)?"
_SEPARATORS = ",;\t|\r\n"
# All of them that an id may hold.
ID_SEPARATORS = "|"
# Behind a separator, a starter; quotation marks between them may be read as those of a cell. Every separator ends the
# place before it, so that places never overlap.
_BEFORE, _AFTER = '[,;\\t|\\r\\n][ "]*', f"'*[{_CLASS}]"
_PLACE = f"({_BEFORE})({_AFTER})"
_dangerous = re.compile(_DANGEROUS)
_plain_number = re.compile(_PLAIN_NUMBER)
_place = re.compile(_PLACE)
_guarded_place = re.compile(f"({_BEFORE})'({_AFTER})")


def guarded(text: str) -> str:
    """The text as a spreadsheet may see it: with one ' before it when it could start a formula, or starts with a ',
    and one before each starter that a separator inside it would make the start of a cell."""
    inside = _place.sub(r"\1'\2", text)
    return "'" + inside if _dangerous.match(text) and not _plain_number.fullmatch(text) else inside


def unguarded(text: str) -> str:
    """The text whose guarded form this is: one ' off at the start and at each place behind a separator."""
    return _guarded_place.sub(r"\1\2", text.removeprefix("'"))


def guarded_sql(expression: str, separators: str = _SEPARATORS) -> str:
    """The SQL of `guarded` over a VARCHAR expression; NULL stays NULL. It is repeated: pass a column.

    `separators` are all that its texts can hold: the fewer, the faster.
    """
    dangerous, number, place = (_literal(pattern) for pattern in (_DANGEROUS, _PLAIN_NUMBER, _PLACE))
    # The first character and a look for single ones clear nearly every cell, many times faster than the regular
    # expressions would. Ranges, not an IN list: DuckDB makes a join of a long one, and a COPY of a join does not keep
    # the order of the rows.
    suspect = f"{expression} < '0' OR ({expression} >= '=' AND {expression} < 'A') OR {expression} >= '＀'"
    split = f"({_holds(separators, expression)}) AND ({_holds(_STARTERS, expression)})"
    starts = f"regexp_matches({expression}, {dangerous}) AND NOT regexp_full_match({expression}, {number})"
    inside = f"regexp_replace({expression}, {place}, '\\1''\\2', 'g')"
    return (
        f"CASE WHEN {suspect} OR ({split} AND regexp_matches({expression}, {place}))"
        f" THEN if({starts}, '''', '') || {inside} ELSE {expression} END"
    )


def unguarded_sql(expression: str) -> str:
    """The SQL of `unguarded` over a VARCHAR expression; NULL stays NULL. It is repeated: pass a column."""
    place = _literal(_guarded_place.pattern)
    start = f"CASE WHEN starts_with({expression}, '''') THEN substr({expression}, 2) ELSE {expression} END"
    inside = f"regexp_replace({start}, {place}, '\\1\\2', 'g')"
    return f"CASE WHEN contains({expression}, '''') THEN {inside} ELSE {expression} END"  # nearly no text holds one


def _holds(characters: str, expression: str) -> str:
    """The condition that a text holds one of the characters; DuckDB finds each faster than a class of them."""
    return " OR ".join(f"contains({expression}, '{character}')" for character in characters)


def _literal(pattern: str) -> str:
    return "'" + pattern.replace("'", "''") + "'"

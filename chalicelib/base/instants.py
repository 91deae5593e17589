"""RFC 3339 instants: read strictly, kept in UTC to the microsecond, written one way."""

import re
from datetime import UTC, date, datetime

from chalicelib.base.errors import faulty

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,30}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
INSTANT = "must be an RFC 3339 instant such as 2026-11-21T16:36:13.250Z"
DATE = "must be a date such as 2026-11-21"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def parse(text: object) -> datetime:
    """The instant in UTC; digits past the microsecond are cut. Faulty says what is wrong with it."""
    if not isinstance(text, str):
        raise faulty("wrong_type", INSTANT, expected=["instant"])
    if len(text) > 64:
        raise faulty("malformed", INSTANT)
    match = _RFC3339.fullmatch(text)
    if match is None:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?", text):
            raise faulty("malformed", "must carry an offset or Z: a naive timestamp is refused")
        raise faulty("malformed", INSTANT)
    day, time, fraction, offset = match.groups()
    zone = "+00:00" if offset in "Zz" else offset
    try:
        return datetime.fromisoformat(f"{day}T{time}.{(fraction or '0')[:6].ljust(6, '0')}{zone}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise faulty("out_of_range", "is not an instant of the calendar from year 1 to 9999") from error


def parse_date(text: object) -> date:
    """The day of `YYYY-MM-DD`; Faulty says what is wrong with it."""
    if not isinstance(text, str):
        raise faulty("wrong_type", DATE, expected=["date"])
    if _DATE.fullmatch(text) is None:
        raise faulty("malformed", DATE)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise faulty("out_of_range", "is not a day of the calendar") from error


def text(instant: datetime) -> str:
    """The instant as `2026-11-21T16:36:13.250000Z`, which sorts as text as it does as time."""
    utc = instant.astimezone(UTC)
    return f"{utc:%Y-%m-%d}T{utc:%H:%M:%S}.{utc.microsecond:06d}Z" if utc.year >= 1000 else _early(utc)


def _early(utc: datetime) -> str:
    # %Y of years before 1000 is not padded by every C library.
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}.{utc.microsecond:06d}Z"

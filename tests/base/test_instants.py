"""Instants are RFC 3339 with an offset, kept in UTC to the microsecond."""

import pytest

from chalicelib.base.instants import parse, parse_date, text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-21T16:36:13Z", "2026-11-21T16:36:13.000000Z"),
        ("2026-11-21T16:36:13.25Z", "2026-11-21T16:36:13.250000Z"),
        ("2026-11-21t16:36:13.123456789z", "2026-11-21T16:36:13.123456Z"),
        ("2026-11-21T16:36:13+05:30", "2026-11-21T11:06:13.000000Z"),
        ("2026-11-21 16:36:13-08:00", "2026-11-22T00:36:13.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
    ],
)
def test_an_instant_is_kept_in_utc(given: str, kept: str):
    assert text(parse(given)) == kept


@pytest.mark.parametrize(
    "given",
    [
        "2026-11-21T16:36:13",
        "2026-11-21",
        "2026-11-21T16:36Z",
        "20261121T163613Z",
        "2026-W47-6T16:36:13Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T16:36:60Z",
        "2026-11-21T16:36:13+24:00",
        "2026-11-21T16:36:13.Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-11-21T16:36:13Z",
        "",
        1795278973,
        None,
        True,
    ],
)
def test_what_is_no_instant_is_refused(given: object):
    with pytest.raises(ValueError, match=r"must|is not"):
        parse(given)


def test_a_naive_timestamp_is_told_what_it_lacks():
    with pytest.raises(ValueError, match="offset"):
        parse("2026-11-21T16:36:13")


@pytest.mark.parametrize("given", ["2026-11-1", "2026-13-01", "2025-02-29", "2026-11-21T00:00:00Z", 20261121, None])
def test_what_is_no_date_is_refused(given: object):
    with pytest.raises(ValueError, match=r"must|is not"):
        parse_date(given)

"""Claims about files as programs write them: encodings, separators, strays, spellings of values, bounds."""

import codecs
import csv
import gzip
import json

import duckdb
import pyarrow as pa
import pytest

from chalicelib.base import sizes
from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.base.table import Choice
from chalicelib.files.formula import guarded
from chalicelib.imports import judge, reader
from tests.imports.test_parquet import GOOD_EVENT, Quiet, emptied, from_parquet

SEX = (Choice(1, "Female"), Choice(2, "Male"), Choice(3, "Café"), Choice(4, "NA"))
PETS = (Choice(3, "Cat"), Choice(4, "Dog"))
CATALOG = Catalog(
    3,
    {
        "Num": Attribute("Num", "", "number", defined_in=1),
        "Text": Attribute("Text", "", "text", defined_in=1),
        "Sex": Attribute("Sex", "", "choice", SEX, defined_in=1),
        "Pets": Attribute("Pets", "", "choice", PETS, multiple=True, defined_in=1),
        "Born": Attribute("Born", "", "date", defined_in=1),
        "Seen": Attribute("Seen", "", "datetime", defined_in=1),
        "Vip": Attribute("Vip", "", "boolean", defined_in=1),
    },
)


def read(folder, body: bytes, kind: str = "participants", form: str = "csv"):
    """The outcome, the accepted rows in order, and line -> reason."""
    emptied(folder)
    (folder / "upload").write_bytes(body)
    asked = reader.Asked(kind, form, "01K0", "2026-11-21T16:36:13.250000Z", CATALOG, "300MB")
    outcome = reader.read(asked, folder, Quiet())
    found = duckdb.sql(f"SELECT * FROM '{outcome.rows}' ORDER BY line")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    with outcome.rejects.open(encoding="utf-8-sig", newline="") as file:
        rejected = {line: reason for line, reason, _ in [*csv.reader(file)][1:]}
    return outcome, rows, rejected


def attributes(row) -> dict:
    return json.loads(row["attributes"])


ROWS = [["participant_id", "membership", "attributes.Text"], ["p1", "subscribed", "Köln – “10”"], ["p2", "one_time", "a, b; c"],
        ["p3", "subscribed", 'quote " inside'], ["p4", "subscribed", "two\r\nlines"], ["p5", "subscribed", ""]]  # fmt: skip


def written(delimiter: str, end: str, quoting: int) -> str:
    import io

    sink = io.StringIO(newline="")
    csv.writer(sink, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(ROWS)
    return sink.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "windows-1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_a_spreadsheet_would_show_is_what_arrives(tmp_path, encoding, delimiter):
    for end in ("\n", "\r\n", "\r"):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            text = written(delimiter, end, quoting)
            mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
            outcome, rows, rejected = read(tmp_path, mark + text.encode(encoding))
            assert not rejected
            assert [attributes(row).get("Text") or "" for row in rows] == [cells[2] for cells in ROWS[1:]]
            assert outcome.delimiter == delimiter
            assert outcome.encoding == encoding.removesuffix("-sig")


def test_gzip_a_line_that_names_the_separator_and_strays_around_the_data(tmp_path):
    text = "sep=;\r\n;Participant_ID ; membership;__index_level_0__\r\n0;p1;subscribed;0\r\n;;;\r\n \r\n1;p2;subscribed;1\r\n"
    outcome, rows, rejected = read(tmp_path, gzip.compress(text.encode()))
    assert [row["participant_id"] for row in rows] == ["p1", "p2"]
    assert not rejected
    assert outcome.delimiter == ";"


def test_a_bad_byte_of_a_file_with_other_characters_harms_its_row_alone(tmp_path):
    body = (
        "participant_id,membership,attributes.Text\np1,subscribed,é\np2,subscribed,".encode()
        + b"\xff\np3,subscribed,x\n"
    )
    _, rows, rejected = read(tmp_path, body)
    assert [row["participant_id"] for row in rows] == ["p1", "p3"]
    assert list(rejected) == ["3"]
    assert "UTF-8" in rejected["3"]
    lines = b'{"participant_id":"p1","membership":"subscribed"}\n{"participant_id":"\xff"}\n\n{"participant_id":"p3","membership":"subscribed"}'
    _, rows, rejected = read(tmp_path, b"\xef\xbb\xbf" + lines, form="ndjson")
    assert [row["participant_id"] for row in rows] == ["p1", "p3"]
    assert list(rejected) == ["2"]


SPELLINGS = [
    ("Num", "NA", None), ("Num", "NaN", None), ("Num", " 5 ", 5), ("Num", "1e5", 1e5), ("Num", "inf", ValueError),
    ("Num", "na", ValueError), ("Num", "0.12345678901234567891", ValueError), ("Text", "NA", "NA"), ("Text", "NaN", "NaN"),
    ("Sex", "1", 1), ("Sex", "1.0", 1), ("Sex", " Female ", 1), ("Sex", "female", 1), ("Sex", "Cafe\u0301", 3), ("Sex", "NA", 4),
    ("Sex", "NULL", None), ("Sex", "Femal", ValueError), ("Pets", "Cat; Dog", [3, 4]), ("Pets", "Dog;Cat;", [3, 4]),
    ("Pets", "4.0;3", [3, 4]), ("Pets", "Cat;;Dog", ValueError), ("Pets", "N/A", None), ("Born", "1980-02-03 00:00:00", "1980-02-03"),
    ("Born", "1980-02-03T10:00:00", ValueError), ("Born", "NULL", None), ("Vip", "TRUE", True), ("Vip", "NA", None),
    *[("Seen", text, "2026-01-02T03:04:05.500000Z") for text in
      ("2026-01-02 03:04:05.5+00", "2026-01-02 05:04:05.5+02", "2026-01-02 03:04:05.5 UTC", "2026-01-02T03:04:05.5+0000",
       "2026-01-02 03:04:05.5 +0000", "2026-01-02T03:04:05.5000009Z")],
    ("Seen", "2026-01-02 03:04:05", ValueError), ("Seen", "N/A", None),
]  # fmt: skip


def test_spellings_of_values_stand_for_what_they_mean_in_csv_and_parquet(tmp_path):
    names = list(CATALOG.attributes)
    header = ["participant_id", "membership", *(f"attributes.{name}" for name in names)]
    cells = [[f"p{n}", "subscribed", *(text if name == one else None for one in names)]
             for n, (name, text, _) in enumerate(SPELLINGS)]  # fmt: skip
    import io

    sink = io.StringIO()
    csv.writer(sink, quoting=csv.QUOTE_NOTNULL).writerows([header, *cells])
    _, rows, rejected = read(tmp_path, sink.getvalue().encode())
    table = pa.table([pa.array(column, pa.string()) for column in zip(*cells, strict=True)], names=header)
    buffer = pa.BufferOutputStream()
    import pyarrow.parquet as pq

    pq.write_table(table, buffer)
    _, same, others = read(tmp_path, buffer.getvalue().to_pybytes(), form="parquet")
    for found, refused, first in ((rows, rejected, 2), (same, others, 1)):
        by_id = {row["participant_id"]: attributes(row) for row in found}
        for n, (name, text, expected) in enumerate(SPELLINGS):
            if expected is ValueError:
                assert str(n + first) in refused, (name, text, by_id.get(f"p{n}"))
            else:
                assert by_id[f"p{n}"] == ({} if expected is None else {name: expected}), (name, text)


def test_panelports_own_export_comes_back_guarded_or_not_and_a_partial_one_warns(tmp_path):
    texts = ["=1+1", "'quoted", "plain", "a;=1", "-5", "@x", ""]
    for guard in (guarded, str):
        lines = [
            [
                "Participant_Id",
                "EmailAddress",
                "MembershipStatus",
                "CreatedAt (America/Vancouver)",
                "Text",
                "Sex",
                "ChatsInvited",
            ]
        ]
        lines += [
            [f"p{n}", "a@b.org", "One-time", "2026-01-02 03:04:05", guard(text), "Male", "7"]
            for n, text in enumerate(texts)
        ]
        import io

        sink = io.StringIO()
        csv.writer(sink).writerows(lines)
        outcome, rows, rejected = read(tmp_path, sink.getvalue().encode("utf-8-sig"))
        assert not rejected
        assert [attributes(row).get("Text", "") for row in rows] == texts
        assert {(row["membership"], str(row["created_at"])) for row in rows} == {("one_time", "2026-01-02 11:04:05")}
        assert [warning[:1] for warning in outcome.warnings] == ["5"]


def test_bounds_reject_a_row_by_name_and_the_file_of_rejects_ends(tmp_path):
    long, most = "x" * (sizes.MOST_TEXT + 1), "x" * sizes.MOST_TEXT
    body = f"participant_id,membership,attributes.Text,email\np1,subscribed,{long},\np2,subscribed,{most},\np3,subscribed,{'y' * 300_000},\n"
    _, rows, rejected = read(tmp_path, body.encode())
    assert [row["participant_id"] for row in rows] == ["p2"]
    assert "65,536 bytes" in rejected["2"]
    assert "262,144 bytes" in rejected["4"]
    many = ",".join(f"params.p{n}" for n in range(101))
    body = f"event_id,participant_id,name,occurred_at,{many}\n" + ",".join([*GOOD_EVENT.values(), *["1"] * 101]) + "\n"
    _, rows, rejected = read(tmp_path, body.encode(), "events")
    assert "100" in rejected["2"]
    wide = ",".join(f"params.p{n}" for n in range(600))
    with pytest.raises(reader.Broken, match="604 columns"):
        read(tmp_path, f"event_id,participant_id,name,occurred_at,{wide}\n".encode(), "events")
    bad = "participant_id,membership\n" + "no id,subscribed\n" * (judge.MOST_REJECTS + 5)
    outcome, _, rejected = read(tmp_path, bad.encode())
    assert outcome.rejected == judge.MOST_REJECTS + 5
    assert rejected[""].startswith("5 more rows")


@pytest.mark.parametrize(
    ("body", "form", "told"),
    [
        (b"PK\x03\x04 xl/workbook.xml", "csv", "Excel workbook"),
        (b"PAR1 PAR1", "csv", "Parquet"),
        (b'[{"a": 1}]', "ndjson", "JSON array"),
        (b'{\n  "a": 1\n}', "ndjson", "one object a line"),
        (b"participant_id,membership\n", "parquet", "not Parquet"),
        (b"PAR1 cut", "parquet", "cut off"),
        (b"<!DOCTYPE html>", "csv", "page"),
        (b"participant_id;email\n", "csv", "membership"),
    ],
)
def test_a_file_of_another_format_is_named_for_what_it_is(tmp_path, body, form, told):
    with pytest.raises(reader.Broken, match=told):
        read(tmp_path, body, form=form)


NEVER = None
TYPES = [
    (pa.array([True]), True), (pa.array([b"text"], pa.binary()), "text"), (pa.array([b"\xff"], pa.binary()), NEVER),
    (pa.array([b"abcd"], pa.binary(4)), "abcd"), (pa.array([b"0123456789abcdef"], pa.uuid()), "30313233-3435-3637-3839-616263646566"),
    (pa.array(["{}"], pa.json_()), "{}"), (pa.array([0], pa.date32()), "1970-01-01"),
    (pa.array([1], pa.time32("ms")), "00:00:00.001"), (pa.array([-1], pa.timestamp("ns", "UTC")), "1969-12-31T23:59:59.999999Z"),
    (pa.array([1_500_001], pa.timestamp("us", "Europe/Berlin")), "1970-01-01T00:00:01.500001Z"),
    (pa.array([1], pa.timestamp("ms")), "1970-01-01T00:00:00.001000"), (pa.array([None], pa.null()), {}),
    (pa.array(["a"]).dictionary_encode(), "a"),
    (pa.array([["a"]]), "LIST"), (pa.array([[{"a": 1}]]), "LIST"), (pa.array([{"a": 1}]), "STRUCT"),
    (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())), "MAP"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "expected"), TYPES, ids=lambda one: str(getattr(one, "type", "")))
def test_a_type_of_parquet_is_taken_or_refused_by_its_name(tmp_path, array, expected):
    if expected in ("LIST", "STRUCT", "MAP"):
        with pytest.raises(reader.Broken, match=f"params.x is {expected}"):
            from_parquet(tmp_path, "events", {"params.x": array})
        return
    rows, rejected = from_parquet(tmp_path, "events", {"params.x": array})
    if expected is NEVER:
        assert list(rejected) == [1]
        return
    assert json.loads(rows[1]["params"]) == ({} if expected == {} else {"x": expected})


def test_int96_is_an_instant_in_utc_and_a_list_is_a_multiple_choice(tmp_path):
    at = pa.array([1_000_000_001], pa.timestamp("ns"))
    rows, _ = from_parquet(tmp_path, "events", {"occurred_at": at}, use_deprecated_int96_timestamps=True)
    assert str(rows[1]["occurred_at"]) == "1970-01-01 00:00:01"
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    lists = pa.array([["Cat", "dog"], [], None])
    columns = {"participant_id": ["a", "b", "c"], "membership": ["subscribed"] * 3, "attributes.Pets": lists}
    pq.write_table(pa.table(columns), buffer)
    _, rows, rejected = read(tmp_path, buffer.getvalue().to_pybytes(), form="parquet")
    assert not rejected
    assert [attributes(row) for row in rows] == [{"Pets": [3, 4]}, {"Pets": []}, {}]

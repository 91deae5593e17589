"""The contract that every writer keeps, whatever the format; and the options of each."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from datetime import datetime

import duckdb
import pyreadstat
import pytest
from pydantic import ValidationError

from chalicelib.base.table import Choice, Column
from chalicelib.files.csv_file import CsvOptions
from chalicelib.files.formats import FORMATS
from chalicelib.files.ndjson_file import NdjsonOptions
from chalicelib.files.parquet_file import ParquetOptions
from chalicelib.files.spss_file import SpssOptions
from tests.files.results import Collected, rendered, result_of, write, written

pytestmark = pytest.mark.slow


def read_csv(content, _path):
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return header, rows


def read_csv_gz(content, path):
    return read_csv(gzip.decompress(content), path)


def read_ndjson(content, _path):
    rows = [json.loads(line) for line in content.decode().split("\n")[:-1]]
    return (list(rows[0]) if rows else None), [list(row.values()) for row in rows]


def read_parquet(content, path):
    path.write_bytes(content)
    found = duckdb.connect().execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [str(path)])
    names = [column[0] for column in found.description]
    return names, [list(row) for row in found.fetchall()]


def read_spss(content, path):
    path.write_bytes(content)
    columns, _ = pyreadstat.read_sav(path, output_format="dict")
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


WRITERS = {
    "csv": ("csv", {}, read_csv),
    "csv.gz": ("csv", {"compression": "gzip"}, read_csv_gz),
    "sav": ("spss", {}, read_spss),
    "zsav": ("spss", {"compressed": True}, read_spss),
    "parquet": ("parquet", {}, read_parquet),
    "ndjson": ("ndjson", {}, read_ndjson),
    "ndjson.gz": ("ndjson", {"compression": "gzip"}, lambda content, path: read_ndjson(gzip.decompress(content), path)),
}
every_writer = pytest.mark.parametrize("name", WRITERS)

CODES = tuple(Choice(code, f"label {code}") for code in range(1, 101))
OF_EACH_TYPE = [
    Column("Row", "Row", "integer"),
    Column("Text", "Text", "text"),
    Column("Number", "Number", "number"),
    Column("Yes", "Yes", "boolean"),
    Column("Day", "Day", "date"),
    Column("At", "At", "datetime"),
    Column("One", "One", "choice", choices=CODES),
    Column("Some", "Some", "choices", choices=CODES[:5]),
]
MANY = """SELECT i AS "Row", 'text ' || hash(i) AS "Text", i / 7 AS "Number", i % 2 = 0 AS "Yes",
    DATE '2000-01-01' + (i % 9000)::INTEGER AS "Day", TIMESTAMP '2015-01-01' + INTERVAL (i * 317) SECOND AS "At",
    (1 + i % 100)::INTEGER AS "One", [(1 + i % 5)::INTEGER] AS "Some" FROM range({}) AS t(i)"""


def read_back(tmp_path, name, columns, rows):
    """The header and the rows that an independent reader finds, and the warnings."""
    kind, options, read = WRITERS[name]
    content, warnings = rendered(tmp_path, columns, rows, kind, **options)
    path = tmp_path / f"read.{name}"
    header, found = read(content, path)
    path.unlink(missing_ok=True)
    return header, found, warnings


def test_an_unknown_format_is_not_there_and_each_has_its_options():
    assert set(FORMATS) == {"csv", "spss", "parquet", "ndjson"}
    assert FORMATS["csv"].options is CsvOptions


ONE_MORE = """
from chalicelib.files.contract import Format, Insider, Options
from chalicelib.files import formats

class PlainOptions(Options):
    loud: bool = False

formats.FORMATS["plain"] = Format(
    lambda asked: [], PlainOptions, lambda _: ".txt", lambda _: "text/plain", insider=Insider("txt", PlainOptions)
)

from chalicelib.exports import checks, insider
from pydantic import ValidationError

body = checks.ExportBody.model_validate({"title": "t", "dataset": {}, "format": "plain", "format_options": {}})
faults = checks._option_faults({"format": "plain", "format_options": {"loud": 1, "bom": True}})
try:
    checks.ExportPatch.model_validate({"format": "xlsx"})
except ValidationError as error:
    allowed = error.errors()[0]["ctx"]["expected"]
segment = {"segment": {"segment_id": 1}, "attributes": ["*"], "format": "txt"}
print(body.format, [fault.pointer for fault in faults], allowed, insider.RawBody.model_validate(segment).format)
print(checks.ExportBody.model_json_schema()["properties"]["format"]["enum"], formats.insider_formats()["txt"])
"""


def test_one_more_format_is_its_own_file_and_its_name_in_the_list():
    """Requests, their faults, their description and Insider's shape take it from there."""
    done = subprocess.run([sys.executable, "-c", ONE_MORE], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "plain ['/format_options/loud', '/format_options/bom'] 'csv', 'spss', 'parquet', 'ndjson' or 'plain' txt",
        "['csv', 'spss', 'parquet', 'ndjson', 'plain'] ('plain', {'dialect': 'insider'})",
    ]


@pytest.mark.parametrize(
    ("kind", "options", "extension", "media_type"),
    [
        ("csv", {}, ".csv", "text/csv; charset=utf-8"),
        ("csv", {"compression": "gzip"}, ".csv.gz", "application/gzip"),
        ("spss", {}, ".sav", "application/x-spss-sav"),
        ("spss", {"compressed": True}, ".zsav", "application/x-spss-sav"),
        ("parquet", {}, ".parquet", "application/vnd.apache.parquet"),
        ("ndjson", {}, ".ndjson", "application/x-ndjson"),
        ("ndjson", {"compression": "gzip"}, ".ndjson.gz", "application/gzip"),
    ],
)
def test_the_name_and_the_type_of_a_file_follow_its_options(kind, options, extension, media_type):
    chosen = FORMATS[kind].options(**options)
    assert (FORMATS[kind].extension(chosen), FORMATS[kind].media_type(chosen)) == (extension, media_type)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (CsvOptions, {"compressed": True}),
        (CsvOptions, {"delimiter": "|"}),
        (CsvOptions, {"bom": "true"}),
        (CsvOptions, {"bom": 1}),
        (CsvOptions, {"values": "label"}),
        (SpssOptions, {"bom": True}),
        (SpssOptions, {"compression": "gzip"}),
        (ParquetOptions, {"compression": "gzip"}),
        (ParquetOptions, {"delimiter": ","}),
        (NdjsonOptions, {"bom": False}),
        (NdjsonOptions, {"compression": "zip"}),
    ],
)
def test_an_option_that_means_nothing_for_a_format_is_refused(model, options):
    with pytest.raises(ValidationError):
        model.model_validate(options)


def test_the_defaults_are_those_of_the_contract():
    assert CsvOptions().model_dump() == {
        "bom": True,
        "delimiter": ",",
        "values": "labels",
        "header": "names",
        "formula_guard": True,
        "compression": "none",
    }
    assert SpssOptions().model_dump() == {"compressed": False}
    assert ParquetOptions().model_dump() == {"values": "labels"}
    assert NdjsonOptions().model_dump() == {"values": "labels", "compression": "none"}


@every_writer
def test_no_rows_give_a_whole_file_with_its_columns(tmp_path, name):
    header, rows, warnings = read_back(tmp_path, name, OF_EACH_TYPE, [])
    assert (rows, warnings) == ([], [])
    assert header is None or header[:7] == [column.name for column in OF_EACH_TYPE[:7]]


@every_writer
def test_one_column_is_enough(tmp_path, name):
    for column, values in ((OF_EACH_TYPE[0], [1, 2, 3]), (OF_EACH_TYPE[1], ["a", "b"])):
        header, rows, warnings = read_back(tmp_path, name, [column], [[value] for value in values])
        assert (header, warnings) == ([column.name], [])
        assert [type(value)(row[0]) for value, row in zip(values, rows, strict=True)] == values


@pytest.mark.parametrize("name", ["csv", "sav", "parquet", "ndjson"])
def test_two_thousand_columns_are_written(tmp_path, name):
    types = ("integer", "text", "choice", "datetime")
    cells = ("7::BIGINT", "'text'", "3::INTEGER", "TIMESTAMP '2024-07-01'")
    columns = [
        Column(f"Column_{at}", "l", types[at % 4], choices=CODES if types[at % 4] == "choice" else ())
        for at in range(2_000)
    ]
    select = "SELECT " + ", ".join(f"{cells[at % 4]} AS Column_{at}" for at in range(2_000)) + " FROM range(20)"
    kind, options, read = WRITERS[name]
    content, warnings = written(
        result_of(tmp_path, columns, select), columns, tmp_path, kind, "Europe/Paris", **options
    )
    header, rows = read(content, tmp_path / "read")
    assert warnings == []
    assert header == [column.name for column in columns]
    assert rows == [rows[0]] * 20
    whole, text, choice, _ = rows[0][:4]
    assert (int(whole), text) == (7, "text")
    assert choice == (3 if kind == "spss" else "label 3")
    assert rows[0] == rows[0][:4] * 500


@every_writer
def test_what_is_missing_everywhere_is_missing_in_the_file(tmp_path, name):
    _, rows, warnings = read_back(tmp_path, name, OF_EACH_TYPE, [[None] * len(OF_EACH_TYPE)] * 3)
    assert warnings == []
    assert len(rows) == 3
    assert all(cell in (None, "") or cell != cell for row in rows for cell in row)


@every_writer
def test_unicode_of_four_bytes_and_the_longest_text_survive(tmp_path, name):
    texts = ["é", "€", "😀", "x" * 32_767, "😀" * 8_191, "a\u2028b", "مرحبا", "e\u0301"]
    _, rows, warnings = read_back(tmp_path, name, OF_EACH_TYPE[:2], [[at, text] for at, text in enumerate(texts)])
    assert [row[1] for row in rows] == texts
    assert warnings == []


@every_writer
def test_delimiters_newlines_and_quotes_survive(tmp_path, name):
    texts = [
        f"a{mark}b" for mark in (",", ";", "\t", "\n", "\r\n", "\r", '"', '""', "'", "\\", "\\n", "{", "\x01", "\x7f")
    ]
    _, rows, _ = read_back(tmp_path, name, OF_EACH_TYPE[:2], [[at, text] for at, text in enumerate(texts)])
    assert [row[1] for row in rows] == texts


@every_writer
def test_whole_numbers_are_exact_to_2_to_the_53(tmp_path, name):
    numbers = [2**53, -(2**53), 2**53 - 1, 0, None]
    _, rows, warnings = read_back(tmp_path, name, OF_EACH_TYPE[:2], [[number, "x"] for number in numbers])
    assert [int(row[0]) for row in rows[:-1]] == numbers[:-1]
    assert warnings == []


@every_writer
def test_hostile_names_reach_the_file_without_harm(tmp_path, name):
    names = [
        'a"b',
        "a'b",
        "a;b",
        "a, b",
        "a)b",
        "a--b",
        "a{}b",
        "%s",
        "$1",
        "a\\b",
        "a\nb",
        "-- x",
        "c0",
        "c1",
        "result",
        "rowid",
    ]
    columns = [Column(one, f"label of {one}", "integer") for one in names]
    header, rows, _ = read_back(tmp_path, name, columns, [list(range(len(names)))])
    assert [int(cell) for cell in rows[0]] == list(range(len(names)))
    if "sav" not in name:
        assert [one.removeprefix("'") for one in header] == names


@every_writer
def test_labels_hold_any_character(tmp_path, name):
    labels = ["a'b", 'a"b', "a;b", "a]b", "=1+1", "é😀", "a\\b", "%", ""]
    column = Column("g", "g'\"", "choice", choices=tuple(Choice(code, label) for code, label in enumerate(labels)))
    _, rows, _ = read_back(tmp_path, name, [OF_EACH_TYPE[0], column], [[code, code] for code in range(len(labels))])
    expected = list(range(len(labels))) if "sav" in name else [*labels[:-1], "8"]
    assert [cell[1].removeprefix("'") if isinstance(cell[1], str) else cell[1] for cell in rows] == expected


@every_writer
def test_many_rows_keep_their_order_and_their_bytes(tmp_path, name):
    kind, options, _ = WRITERS[name]
    con = result_of(tmp_path, OF_EACH_TYPE, MANY.format(260_000))
    first, _ = written(con, OF_EACH_TYPE, tmp_path, kind, "America/Vancouver", **options)
    second, _ = written(con, OF_EACH_TYPE, tmp_path, kind, "America/Vancouver", **options)
    if kind != "spss":  # whose header tells when it was written
        assert first == second
    path = tmp_path / "read"
    path.write_bytes(first)
    match kind:
        case "csv":
            read = f"SELECT \"Row\" FROM read_csv('{path}', compression='{'gzip' if options else 'none'}')"
        case "ndjson":
            read = f"SELECT \"Row\" FROM read_ndjson('{path}', compression='{'gzip' if options else 'none'}')"
        case "parquet":
            read = f"SELECT \"Row\" FROM read_parquet('{path}')"
        case _:
            rows, _ = pyreadstat.read_sav(path, usecols=["Row"], output_format="dict")
            assert list(rows["Row"]) == list(range(260_000))
            return
    assert [row[0] for row in duckdb.connect().execute(read).fetchall()] == list(range(260_000))


class Full(Exception):
    """What a sink that breaks on cue raises."""


class Breaking(Collected):
    """A sink that breaks at one of its writes."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def write(self, data):
        if len(self.chunks) == self.at:
            raise Full
        super().write(data)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@every_writer
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_sink_that_breaks_ends_the_writing_without_a_trace(tmp_path, name, at):
    kind, options, _ = WRITERS[name]
    con = result_of(tmp_path, OF_EACH_TYPE, MANY.format(400_000))
    threads, descriptors, sink = threading.enumerate(), open_descriptors(), Breaking(at)
    with pytest.raises(Full):
        write(con, OF_EACH_TYPE, kind, options, "UTC", tmp_path, sink)
    assert len(sink.chunks) == at
    assert threading.enumerate() == threads
    assert open_descriptors() == descriptors
    assert list(tmp_path.iterdir()) == []
    assert con.execute("SELECT count(*) FROM result").fetchall() == [(400_000,)]
    con.close()


@every_writer
def test_a_query_that_fails_midway_ends_the_writing_without_a_trace(tmp_path, name):
    kind, options, _ = WRITERS[name]
    con = duckdb.connect()
    con.execute("SET async_threads = 0")  # as every connection to the lake: DuckDB can lock itself up otherwise
    # A view that fails on its last rows stands in for a temporary disk that is full.
    con.execute('CREATE VIEW result AS SELECT i AS "Row", repeat(\'x\', 50) AS "Text" FROM range(300000) AS t(i)')
    con.execute("CREATE OR REPLACE VIEW result AS SELECT i AS \"Row\", CASE WHEN i > 299000 THEN error('broken')"
                " ELSE repeat('x', 50) END AS \"Text\" FROM range(300000) AS t(i)")  # fmt: skip
    threads, descriptors = threading.enumerate(), open_descriptors()
    with pytest.raises(duckdb.Error, match="broken"):
        write(con, OF_EACH_TYPE[:2], kind, options, "UTC", tmp_path, Collected())
    assert threading.enumerate() == threads
    assert open_descriptors() == descriptors
    assert list(tmp_path.iterdir()) == []


@every_writer
def test_a_copy_that_never_opens_its_pipe_is_an_error_not_a_wait(tmp_path, name):
    kind, options, _ = WRITERS[name]
    con = duckdb.connect()
    con.execute('CREATE TEMP TABLE result AS SELECT 1::BIGINT AS "Row", \'x\' AS "Text"')
    con.execute(f"SET allowed_directories=['{tmp_path}/elsewhere']; SET enable_external_access=false")
    if kind == "spss":  # which reads the rows itself
        write(con, OF_EACH_TYPE[:2], kind, options, "UTC", tmp_path, Collected())
    else:
        with pytest.raises(duckdb.Error, match=r"disabled by configuration"):
            write(con, OF_EACH_TYPE[:2], kind, options, "UTC", tmp_path, Collected())
    assert list(tmp_path.iterdir()) == []


@every_writer
def test_a_result_with_other_columns_is_refused(tmp_path, name):
    kind, options, _ = WRITERS[name]
    con = result_of(tmp_path, OF_EACH_TYPE[:2], rows=[[1, "a"]])
    for columns in (OF_EACH_TYPE[1::-1], OF_EACH_TYPE[:1], OF_EACH_TYPE[:3]):
        with pytest.raises(ValueError, match="result has the columns"):
            write(con, columns, kind, options, "UTC", tmp_path, Collected())


@every_writer
def test_a_folder_of_any_name_will_do(tmp_path, name):
    kind, options, read = WRITERS[name]
    folder = tmp_path / 'it\'s "odd" é *?[x]'
    folder.mkdir()
    content, _ = rendered(folder, OF_EACH_TYPE[:2], [[1, "a"]], kind, **options)
    _, rows = read(content, tmp_path / "read")
    assert [int(rows[0][0]), rows[0][1]] == [1, "a"]


def test_parquet_is_typed_and_its_instants_are_utc(tmp_path):
    row = [1, "a", 0.5, True, datetime(2024, 2, 29).date(), datetime(2024, 7, 1, 12, 0, 0, 5), 2, [3, 1, 3]]
    for values, one, some in (("labels", "label 2", ["label 1", "label 3"]), ("codes", 2, [1, 3])):
        content, _ = rendered(tmp_path, OF_EACH_TYPE, [row], "parquet", "America/Vancouver", values=values)
        path = tmp_path / "read.parquet"
        path.write_bytes(content)
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        found = con.execute(f'SELECT * REPLACE ("At"::VARCHAR AS "At") FROM \'{path}\'').fetchall()
        assert found == [(1, "a", 0.5, True, row[4], "2024-07-01 12:00:00.000005+00", one, some)]
        types = [kind[1] for kind in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
        choice = "VARCHAR" if values == "labels" else "INTEGER"
        scalar = ["BIGINT", "VARCHAR", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE"]
        assert types == [*scalar, choice, f"{choice}[]"]
        path.unlink()


def test_ndjson_is_one_object_a_line_with_utc_instants(tmp_path):
    row = [1, 'a"\n\0', 0.5, True, datetime(2024, 2, 29).date(), datetime(2024, 7, 1, 12), 2, [3, 1]]
    content, _ = rendered(tmp_path, OF_EACH_TYPE, [row, [None] * 8], "ndjson", "America/Vancouver")
    assert content.decode() == (
        '{"Row":1,"Text":"a\\"\\n\\u0000","Number":0.5,"Yes":true,"Day":"2024-02-29",'
        '"At":"2024-07-01T12:00:00.000000Z","One":"label 2","Some":["label 1","label 3"]}\n'
        '{"Row":null,"Text":null,"Number":null,"Yes":null,"Day":null,"At":null,"One":null,"Some":null}\n'
    )
    content, _ = rendered(tmp_path, OF_EACH_TYPE[6:], [[2, [3, 1, 99]]], "ndjson", values="codes")
    assert content == b'{"One":2,"Some":[1,3,99]}\n'


def test_ndjson_says_what_json_cannot_hold(tmp_path):
    content, warnings = rendered(tmp_path, OF_EACH_TYPE[2:3], [[float("inf")], [1.5]], "ndjson")
    assert content == b'{"Number":null}\n{"Number":1.5}\n'
    assert warnings == ["Number: 1 value that is no finite number is left empty"]

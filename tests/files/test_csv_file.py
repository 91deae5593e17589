"""The CSV writer, read back by Python's csv module and by DuckDB."""

import csv
import gzip
import io
import re
import struct
from datetime import date, datetime

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.base import patterns
from chalicelib.base.table import ID_BYTES, Choice, Column
from chalicelib.files.contract import Rendering
from chalicelib.files.formats import FORMATS, options_of
from chalicelib.files.formula import ID_SEPARATORS, guarded, unguarded, unguarded_sql
from tests.files.hostile import HARMLESS, HOSTILE, LINE_BREAKS, SEPARATORS, SPLIT, STARTERS
from tests.files.results import Collected, rendered, result_of, written

TEXT = Column("Text", "A text", "text")
ROW = Column("Row", "Row", "integer")


def cells(content: bytes, delimiter=","):
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def column_of(tmp_path, column, data, /, **options):
    """The cells of one column, beside a row number, as text."""
    rows = [[position, value] for position, value in enumerate(data)]
    content, warnings = rendered(tmp_path, [ROW, column], rows, **options)
    return [row[1] for row in cells(content)[1:]], warnings


def test_the_whole_file_is_known_letter_by_letter(tmp_path):
    columns = [
        Column("id", "Id", "text"),
        Column("n", "Count", "integer"),
        Column("x", "Share", "number"),
        Column("r", "Rate", "number", decimals=2),
        Column("b", "Yes", "boolean"),
        Column("d", "Day", "date"),
        Column("t", "At", "datetime"),
        Column("g", "Gender", "choice", choices=(Choice(1, "Female"), Choice(2, "Male, other"))),
        Column("m", "Topics", "choices", choices=(Choice(5, "five"), Choice(1, "one"))),
    ]
    rows = [
        ["é😀", 1, 34.0, 66.666, True, date(2024, 2, 29), datetime(2024, 7, 1, 12, 0, 0, 999_999), 2, [1, 5]],
        ['a "b"', -5, 0.5, 100, False, date(1, 1, 1), datetime(2024, 1, 1), 7, []],
        ["", None, None, None, None, None, None, None, None],
    ]
    content, warnings = rendered(tmp_path, columns, rows, zone="America/Vancouver")
    assert warnings == []
    assert content.decode() == (
        "\ufeffid,n,x,r,b,d,t,g,m\n"
        'é😀,1,34,66.67,true,2024-02-29,2024-07-01 05:00:00,"Male, other",five;one\n'
        '"a ""b""",-5,0.5,100.00,false,0001-01-01,2023-12-31 16:00:00,7,""\n'
        '"",,,,,,,,\n'
    )


def test_options_change_the_dialect_and_nothing_else(tmp_path):
    columns = [ROW, Column("g", "The; label", "choice", choices=(Choice(1, "a;b"),))]
    content, _ = rendered(tmp_path, columns, [[1, 1]], bom=False, delimiter=";", header="labels")
    assert content == b'Row;"The; label"\n1;"a;b"\n'
    content, _ = rendered(tmp_path, columns, [[1, 1]], bom=False, delimiter="\t", values="codes")
    assert content == b"Row\tg\n1\t1\n"


def header_of(tmp_path, *columns, zone="UTC"):
    content, _ = rendered(tmp_path, columns, [], zone=zone, header="labels")
    return cells(content)[0]


def test_columns_of_the_same_label_are_told_apart_by_their_names(tmp_path):
    """All of them, also one whose own label is what the brackets make of another."""
    alike = [Column("FldA", "Comment", "text"), Column("FldB", "Comment", "text"), Column("FldC", "Town", "text")]
    assert header_of(tmp_path, *alike) == ["Comment (FldA)", "Comment (FldB)", "Town"]
    clash = Column("FldD", "Comment (FldA)", "text")
    assert header_of(tmp_path, clash, *alike)[:3] == ["Comment (FldA) (FldD)", "Comment (FldA)", "Comment (FldB)"]
    named = [Column("Town", "", "text"), Column("FldC", "Town", "text")]
    assert header_of(tmp_path, *named) == ["Town (Town)", "Town (FldC)"]


def test_in_insiders_shape_instants_are_rfc_3339_in_utc_whatever_the_zone(tmp_path):
    column = Column("t", "At", "datetime")
    instants = [
        datetime(1, 1, 1), datetime(999, 6, 1, 0, 0, 0, 1), datetime(2024, 7, 1, 12, 0, 0, 250_000),
        datetime(9999, 12, 31, 23, 59, 59, 999_999), None,
    ]  # fmt: skip
    sink = Collected()
    con = result_of(tmp_path, [ROW, column], rows=list(enumerate(instants)))
    options = options_of("csv", {"dialect": "insider"})
    assert FORMATS["csv"].write(Rendering(con, [ROW, column], options, "America/Vancouver", tmp_path, sink)) == []
    assert sink.bytes.decode() == (
        "Row,t\n0,0001-01-01T00:00:00.000000Z\n1,0999-06-01T00:00:00.000001Z\n2,2024-07-01T12:00:00.250000Z\n"
        "3,9999-12-31T23:59:59.999999Z\n4,\n"
    )


def test_a_label_of_instants_names_the_zone(tmp_path):
    instants = [Column("a", "At", "datetime"), Column("b", "At", "datetime"), Column("c", "When", "datetime")]
    day = Column("d", "Day", "date")
    head = header_of(tmp_path, *instants, day, zone="Asia/Tokyo")
    assert head == ["At (a) (Asia/Tokyo)", "At (b) (Asia/Tokyo)", "When (Asia/Tokyo)", "Day"]
    assert cells(rendered(tmp_path, [*instants, day], [])[0])[0] == ["a", "b", "c", "d"]
    told = Column("e", "When (Asia/Tokyo)", "text")
    assert len(set(header_of(tmp_path, *instants, told, zone="Asia/Tokyo"))) == 4


def test_gzip_holds_the_same_bytes_and_no_time(tmp_path):
    plain, _ = rendered(tmp_path, [ROW, TEXT], [[1, "a"]])
    packed, _ = rendered(tmp_path, [ROW, TEXT], [[1, "a"]], compression="gzip")
    assert gzip.decompress(packed) == plain
    assert struct.unpack("<L", packed[4:8]) == (0,)


def test_the_same_rows_give_the_same_bytes_in_their_order(tmp_path):
    columns = [ROW, Column("x", "x", "number"), TEXT]
    select = "SELECT i AS Row, i / 7 AS x, 'text ' || i AS Text FROM range(300000) t(i)"
    first, second = (written(result_of(tmp_path, columns, select), columns, tmp_path)[0] for _ in range(2))
    assert first == second
    assert [int(row[0]) for row in cells(first)[1:]] == list(range(300_000))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (34.0, "34"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (66.67, "66.67"),
        (-2.5, "-2.5"),
        (0.00005, "0.00005"),
        (-1.25e-7, "-0.000000125"),
        (1e15, "1000000000000000"),
        (2.0**53, "9007199254740992"),
        (1e300, "1e+300"),
    ],
)
def test_a_number_has_the_digits_it_needs(tmp_path, value, text):
    assert column_of(tmp_path, Column("x", "x", "number"), [value]) == ([text], [])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_number_reads_back_as_itself(tmp_path, values):
    texts, _ = column_of(tmp_path, Column("x", "x", "number"), values)
    assert [float(text) for text in texts] == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (66.67, "66.67"),
        (100, "100.00"),
        (0, "0.00"),
        (33.33, "33.33"),
        (-0.001, "0.00"),
        (12345678901.5, "12345678901.50"),
    ],
)
def test_fixed_decimals_are_always_shown(tmp_path, value, text):
    assert column_of(tmp_path, Column("r", "r", "number", decimals=2), [value]) == ([text], [])


def test_what_is_no_number_is_left_empty_and_said(tmp_path):
    values = [float("nan"), float("inf"), 1.0]
    assert column_of(tmp_path, Column("x", "x", "number"), values) == (
        ["", "", "1"],
        ["x: 2 values that are no finite numbers are left empty"],
    )


def test_years_of_more_than_four_digits_are_left_empty_and_said(tmp_path):
    columns = [ROW, Column("d", "d", "date"), Column("t", "t", "datetime")]
    select = """SELECT 1 AS "Row", DATE '10000-01-01' AS d, TIMESTAMP '0044-03-15 (BC) 00:00:00' AS t
        UNION ALL SELECT 2, DATE '9999-12-31', TIMESTAMP '9999-12-31 00:00:00'
        UNION ALL SELECT 3, DATE 'infinity', TIMESTAMP '-infinity'"""
    content, warnings = written(result_of(tmp_path, columns, select), columns, tmp_path, zone="Asia/Tokyo")
    assert cells(content)[1:] == [["1", "", ""], ["2", "9999-12-31", "9999-12-31 09:00:00"], ["3", "", ""]]
    assert warnings == [f"{name}: 2 values before 0001-01-01 or after 9999-12-31 are left empty" for name in ("d", "t")]


def test_an_hour_that_occurs_twice_shows_twice(tmp_path):
    instants = [datetime(2024, 11, 3, hour, 30) for hour in (7, 8, 9, 10)]
    texts, _ = column_of(tmp_path, Column("t", "t", "datetime"), instants, zone="America/Vancouver")
    assert texts == [f"2024-11-03 0{hour}:30:00" for hour in (0, 1, 1, 2)]


def test_choices_follow_the_catalogue_and_keep_unknown_codes(tmp_path):
    topics = Column("m", "m", "choices", choices=(Choice(100_000, "far"), Choice(-1, "near"), Choice(2, "=two")))
    values = [[2, -1, 100_000], [7, 2, 3], [2, 2], [None], [], None]
    assert column_of(tmp_path, topics, values)[0] == ["far;near;'=two", "'=two;3;7", "'=two", "", "", ""]
    assert column_of(tmp_path, topics, values, values="codes")[0] == ["100000;'-1;2", "2;3;7", "2", "", "", ""]


@pytest.mark.parametrize("codes", [(1, 2, 3), (-2_147_483_648, 0, 2_147_483_647)])
def test_labels_are_found_whatever_their_codes(tmp_path, codes):
    column = Column("g", "g", "choice", choices=tuple(Choice(code, f"label {code}") for code in codes))
    others = [4, -1, -4, 99_999]
    expected = [f"label {code}" for code in codes] + [str(code) for code in others] + [""]
    assert column_of(tmp_path, column, [*codes, *others, None])[0] == expected


def test_a_file_of_one_column_has_no_blank_lines_and_says_so(tmp_path):
    content, warnings = rendered(tmp_path, [TEXT], [["a"], [None], [""]], bom=False)
    assert content == b'Text\na\n""\n""\n'
    assert warnings == ['Text: 1 value is missing and written as "", alone on its line']


FORMULA = re.compile('[ "]*[=+\\-@＝＋－＠]')


def looks_dangerous(cell):
    return re.match("[ \0]*[=+\\-@\t\r\n＝＋－＠]", cell) and not re.fullmatch("[+-]?[0-9]+([.][0-9]+)?", cell)


def live(content, separator):
    """The cells that a reader with this separator would take for formulas."""
    read = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator)
    return [cell for row in read for cell in row if FORMULA.match(cell) and looks_dangerous(cell.lstrip(' "'))]


def restored(cell):
    """As the contract words it: one ' off at the start, and at each place behind a separator."""
    return re.sub("([,;\t|\r\n][ \"]*)'('*[=+@＝＋－＠-])", r"\1\2", cell.removeprefix("'"))


def test_no_hostile_cell_stays_dangerous_and_each_is_restored(tmp_path):
    assert len(HOSTILE) >= 200
    texts, _ = column_of(tmp_path, TEXT, HOSTILE)
    assert [text for text in texts if looks_dangerous(text)] == []
    assert [restored(text) for text in texts] == HOSTILE
    assert column_of(tmp_path, TEXT, HOSTILE, formula_guard=False)[0] == HOSTILE


def test_harmless_cells_are_left_alone(tmp_path):
    assert column_of(tmp_path, TEXT, HARMLESS)[0] == HARMLESS


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_separator_makes_a_hostile_cell_live_and_each_is_restored(tmp_path, delimiter):
    assert len(SPLIT) >= 300
    rows = [[text, n, text] for n, text in enumerate(SPLIT)]
    content, _ = rendered(tmp_path, [Column("First", "", "text"), ROW, TEXT], rows, delimiter=delimiter)
    assert [(restored(row[0]), restored(row[2])) for row in cells(content, delimiter)[1:]] == [(t, t) for t in SPLIT]
    assert [live(content, separator) for separator in SEPARATORS] == [[], [], [], []]
    bare, _ = rendered(tmp_path, [ROW, TEXT], [row[1:] for row in rows], delimiter=delimiter, formula_guard=False)
    assert all(live(bare, separator) for separator in SEPARATORS), "the cells are as hostile as they look"


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
TRICKY_TEXT = st.lists(st.sampled_from([*",;\t|\r\n", *STARTERS, "'", "''", '"', " ", "5", "a", "é"]), max_size=9)


@given(st.lists(ANY_TEXT | TRICKY_TEXT.map("".join), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_and_python_guard_alike_and_any_text_is_restored(tmp_path, values):
    texts, _ = column_of(tmp_path, TEXT, values)
    assert texts == [guarded(value) for value in values]
    assert [restored(text) for text in texts] == values
    assert not any(looks_dangerous(text) for text in texts)
    content, _ = rendered(tmp_path, [ROW, TEXT], list(enumerate(values)))
    assert [live(content, separator) for separator in SEPARATORS] == [[], [], [], []]


OF_IDS = [chr(code) for code in range(0x3000) if re.fullmatch(patterns.PARTICIPANT_ID, chr(code))]


@given(st.lists(st.text([*OF_IDS, "|", "=", "+"], min_size=1, max_size=8), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_are_guarded_as_any_text_is(tmp_path, values):
    """They are looked through for fewer separators, which are all that an id may hold."""
    assert {*OF_IDS} & {*SEPARATORS, *LINE_BREAKS} <= {*ID_SEPARATORS}
    texts, _ = column_of(tmp_path, Column("Id", "Id", "text", bytes=ID_BYTES), values)
    assert texts == [guarded(value) for value in values]


@given(st.lists(ANY_TEXT | TRICKY_TEXT.map("".join), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_the_inverse_restores_in_python_and_in_sql_what_was_guarded(values):
    shown = [guarded(value) for value in values]
    assert [unguarded(text) for text in shown] == values
    for texts in (values, shown):
        sql = f"SELECT list_transform(?::VARCHAR[], lambda text: {unguarded_sql('text')})"
        assert duckdb.execute(sql, [texts]).fetchall()[0] == ([unguarded(text) for text in texts],)


def test_labels_and_headers_are_guarded_and_numbers_never(tmp_path):
    columns = [
        Column("=h", "-label", "integer"),
        Column("g", "+1", "choice", choices=(Choice(-1, "=no"), Choice(-2, "-2"))),
        Column("x", "'x", "number"),
    ]
    content, _ = rendered(tmp_path, columns, [[-5, -1, -0.5], [-6, -2, -1], [1, -3, 1]], header="labels")
    assert cells(content) == [["'-label", "+1", "''x"], ["-5", "'=no", "-0.5"], ["-6", "-2", "-1"], ["1", "-3", "1"]]
    content, _ = rendered(tmp_path, columns, [[-5, -1, -0.5]], values="codes")
    assert cells(content) == [["'=h", "g", "x"], ["-5", "-1", "-0.5"]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_character_round_trips_through_two_readers(tmp_path, delimiter):
    values = [f"a{chr(code)}b" for code in range(1, 0x250)] + [
        ',";\t\r\n',
        '"',
        '""',
        "\\",
        "#x",
        " x ",
        "NULL",
        "\u2028",
    ]
    rows = [[position, value] for position, value in enumerate(values)]
    content, _ = rendered(tmp_path, [ROW, TEXT], rows, delimiter=delimiter)
    assert [row[1] for row in cells(content, delimiter)[1:]] == values
    path = tmp_path / "read.csv"
    path.write_bytes(content)
    read = duckdb.connect().execute(
        f"SELECT Text FROM read_csv(?, header = true, all_varchar = true, quote = '\"', escape = '\"',"
        f" delim = '{delimiter}', auto_detect = false, columns = {{'Row': 'VARCHAR', 'Text': 'VARCHAR'}})",
        [str(path)],
    )
    assert [row[0] for row in read.fetchall()] == values


def test_a_nul_round_trips(tmp_path):
    assert column_of(tmp_path, TEXT, ["a\0b", "\0"])[0] == ["a\0b", "\0"]


def test_an_empty_text_and_a_missing_one_differ(tmp_path):
    content, _ = rendered(tmp_path, [ROW, TEXT], [[1, ""], [2, None]], bom=False)
    assert content == b'Row,Text\n1,""\n2,\n'

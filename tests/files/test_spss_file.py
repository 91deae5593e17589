"""The SPSS writer, read back by pyreadstat and by PSPP, which must have nothing to say about the file."""

import csv
import math
import random
import shutil
import struct
import subprocess
from datetime import date, datetime

import numpy as np
import pyreadstat
import pytest

from chalicelib.base.table import Choice, Column
from tests.files.results import rendered, result_of, written

pspp_is_here = pytest.mark.skipif(shutil.which("pspp") is None, reason="needs PSPP (Debian: apt install pspp)")
both_kinds = pytest.mark.parametrize("compressed", [False, True], ids=["sav", "zsav"])

ROW = Column("Row", "Row", "integer")
GENDER = Column(
    "Gender", "Gender", "choice", choices=(Choice(1, "Female"), Choice(2, "Male"), Choice(-9, "Refused", missing=True))
)
TOPICS = Column(
    "Topics", "Topics, several", "choices", choices=(Choice(5, "Health"), Choice(1, "Food"), Choice(7, "é😀"))
)
ALL_TYPES = [
    Column("Participant_Id", "Participant", "text"),
    Column("ChatsInvited", "Invited", "integer"),
    Column("Share", "Share", "number"),
    Column("ResponseRate", "Rate", "number", decimals=2),
    Column("Subscribed", "Subscribed?", "boolean"),
    Column("Born", "Born", "date"),
    Column("JoinedAt", "Joined", "datetime"),
    GENDER,
    TOPICS,
]
ROWS = [
    ["é😀", 1, 0.1, 66.67, True, date(1582, 10, 15), datetime(2024, 7, 1, 12, 0, 0, 999_999), 1, [1, 5]],
    ['a "b", c\n', -5, -1e300, 100.0, False, date(9999, 12, 31), datetime(1969, 12, 31, 23, 59, 59, 1), -9, []],
    [None] * 9,
    ["x" * 20, 2**53, 1e-300, 0.0, None, date(2024, 2, 29), datetime(2024, 1, 1), 77, [7]],
]
IN_SPSS = [
    ["é😀", 1.0, 0.1, 66.67, 1.0, date(1582, 10, 15), datetime(2024, 7, 1, 5), 1.0, 1.0, 1.0, 0.0],
    [
        'a "b", c\n',
        -5.0,
        -1e300,
        100.0,
        0.0,
        date(9999, 12, 31),
        datetime(1969, 12, 31, 15, 59, 59),
        -9.0,
        0.0,
        0.0,
        0.0,
    ],
    ["", *[None] * 10],
    ["x" * 20, 2.0**53, 1e-300, 0.0, None, date(2024, 2, 29), datetime(2023, 12, 31, 16), 77.0, 0.0, 0.0, 1.0],
]


def saved(tmp_path, content):
    path = tmp_path / ("file.zsav" if content[:4] == b"$FL3" else "file.sav")
    path.write_bytes(content)
    return path


def by_pyreadstat(path):
    """The cells, with dates and times as Python's, and the dictionary."""
    columns, dictionary = pyreadstat.read_sav(
        path, user_missing=True, output_format="dict", disable_datetime_conversion=True
    )
    formats = list(dictionary.original_variable_types.values())
    rows = zip(*columns.values(), strict=True)
    return [[from_spss(cell, one) for cell, one in zip(row, formats, strict=True)] for row in rows], dictionary


def from_spss(cell, spss_format):
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if not spss_format.startswith("DATE"):
        return cell
    days, seconds = divmod(int(cell), 86_400)
    day = date.fromordinal(date(1582, 10, 14).toordinal() + days)
    if spss_format == "DATE11":
        return day
    return datetime(day.year, day.month, day.day, seconds // 3600, seconds // 60 % 60, seconds % 60)


def run_pspp(tmp_path, syntax):
    """What PSPP prints; it must succeed without a word of warning."""
    script = tmp_path / "script.sps"
    script.write_text(syntax)
    done = subprocess.run(
        ["pspp", "-O", "format=txt", "-O", "width=2000", str(script)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "warning" not in done.stdout.lower()
    assert "error" not in done.stdout.lower()
    return done.stdout


def by_pspp(tmp_path, path):
    """The cells as PSPP writes them to CSV: empty for missing, plain numbers, American dates."""
    target = tmp_path / "pspp.csv"
    run_pspp(
        tmp_path,
        f"GET FILE='{path}'.\nSAVE TRANSLATE /OUTFILE='{target}' /TYPE=CSV /REPLACE /FIELDNAMES /CELLS=VALUES"
        " /TEXTOPTIONS FORMAT=PLAIN.\n",
    )
    with target.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    return header, [[cell.rstrip(" ") for cell in row] for row in rows]


def as_pspp_writes(cell):
    match cell:
        case None:
            return ""
        case datetime():
            return cell.strftime("%m/%d/%Y %H:%M:%S")
        case date():
            return cell.strftime("%m/%d/%Y")
        case _:
            return cell


def alike(found, expected):
    """Whether two cells are equal, numbers as numbers."""
    wanted = as_pspp_writes(expected)
    return float(found) == pytest.approx(wanted, rel=1e-14) if isinstance(wanted, float) and found else found == wanted


@both_kinds
def test_every_type_reads_back_as_it_was(tmp_path, compressed):
    content, warnings = rendered(tmp_path, ALL_TYPES, ROWS, "spss", "America/Vancouver", compressed=compressed)
    assert warnings == []
    rows, dictionary = by_pyreadstat(saved(tmp_path, content))
    assert rows == IN_SPSS
    assert dictionary.number_rows == 4
    assert dictionary.file_encoding == "UTF-8"


@both_kinds
def test_the_dictionary_says_what_the_columns_mean(tmp_path, compressed):
    content, _ = rendered(tmp_path, ALL_TYPES, ROWS, "spss", "America/Vancouver", compressed=compressed)
    _, dictionary = by_pyreadstat(saved(tmp_path, content))
    assert dictionary.column_names_to_labels == {
        "Participant_Id": "Participant",
        "ChatsInvited": "Invited",
        "Share": "Share",
        "ResponseRate": "Rate",
        "Subscribed": "Subscribed?",
        "Born": "Born",
        "JoinedAt": "Joined (America/Vancouver)",
        "Gender": "Gender",
        "Topics_5": "Topics, several: Health",
        "Topics_1": "Topics, several: Food",
        "Topics_7": "Topics, several: é😀",
    }
    assert list(dictionary.original_variable_types.values()) == [
        *("A64", "F16.0", "F20.2", "F8.2", "F8.0", "DATE11", "DATETIME20", "F8.0", "F8.0", "F8.0", "F8.0")
    ]
    assert dictionary.variable_value_labels == {
        "Subscribed": {0.0: "false", 1.0: "true"},
        "Gender": {1.0: "Female", 2.0: "Male", -9.0: "Refused"},
        **{f"Topics_{code}": {0.0: "No", 1.0: "Yes"} for code in (5, 1, 7)},
    }
    assert dictionary.missing_ranges == {"Gender": [{"lo": -9.0, "hi": -9.0}]}
    scales = [name for name, measure in dictionary.variable_measure.items() if measure == "scale"]
    assert scales == ["ChatsInvited", "Share", "ResponseRate", "Born", "JoinedAt"]


@pspp_is_here
@both_kinds
def test_pspp_reads_every_cell_and_has_nothing_to_say(tmp_path, compressed):
    rows = [row for row in ROWS if row[0] != 'a "b", c\n']
    expected = [row for row in IN_SPSS if row[0] != 'a "b", c\n']
    content, _ = rendered(tmp_path, ALL_TYPES, rows, "spss", "America/Vancouver", compressed=compressed)
    header, cells = by_pspp(tmp_path, saved(tmp_path, content))
    assert header[-4:] == ["Gender", "Topics_5", "Topics_1", "Topics_7"]
    assert len(cells) == len(expected)
    for found, wanted in zip(cells, expected, strict=True):
        assert [alike(one, other) for one, other in zip(found, wanted, strict=True)] == [True] * len(wanted), found


@pspp_is_here
def test_pspp_shows_labels_formats_missing_values_and_the_response_set(tmp_path):
    content, _ = rendered(tmp_path, ALL_TYPES, ROWS, "spss", "America/Vancouver")
    path = saved(tmp_path, content)
    shown = run_pspp(tmp_path, f"GET FILE='{path}'.\nDISPLAY DICTIONARY.\nMRSETS /DISPLAY NAME=ALL.\n")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if "|" in line]
    assert ["Gender", "8", "Gender", "Nominal", "Input", "8", "Right", "F8.0", "F8.0", "-9"] in lines
    assert ["ResponseRate", "4", "Rate", "Scale", "Input", "8", "Right", "F8.2", "F8.2", ""] in lines
    joined = ["JoinedAt", "7", "Joined (America/Vancouver)", "Scale", "Input", "8", "Right", *["DATETIME20.0"] * 2, ""]
    assert joined in lines
    assert ["$Topics", "Topics, several", "Dichotomies", "1", "Topics_5"] in lines
    assert ["", "", "", "", "Topics_7"] in lines


WIDTHS = [1, 7, 8, 9, 16, 252, 253, 254, 255, 256, 257, 300, 504, 505, 510, 511, 600, 765, 1000, 5000, 32_767]


@pytest.mark.parametrize("reader", ["pyreadstat", pytest.param("pspp", marks=pspp_is_here)])
@both_kinds
def test_texts_of_every_width_survive_their_segments(tmp_path, compressed, reader):
    draw = random.Random(7)
    columns = [Column(f"T{width}", f"of {width}", "text") for width in WIDTHS]

    def text(size):
        whole = "".join(draw.choice("abcdefgh é€😀") for _ in range(size))
        return whole.encode()[: size - 1].decode(errors="ignore").strip(" ").ljust(1, "x")

    full = ["y" * (width - 1) + "z" for width in WIDTHS]
    rows = [full, [None] * len(WIDTHS), *([text(draw.randint(1, width)) for width in WIDTHS] for _ in range(20))]
    content, warnings = rendered(tmp_path, columns, rows, "spss", compressed=compressed)
    assert warnings == []
    path = saved(tmp_path, content)
    found = by_pyreadstat(path)[0] if reader == "pyreadstat" else by_pspp(tmp_path, path)[1]
    assert found == [[cell or "" for cell in row] for row in rows]


@pspp_is_here
def test_names_that_clash_when_shortened_stay_apart(tmp_path):
    names = [
        "L",
        "L0",
        "L1",
        "V0001",
        "V00010",
        "VERYL0",
        "VeryLongName1",
        "VeryLongName2",
        "verylong",
        "A B",
        "a_b",
        "Á",
        "ALL",
    ]
    columns = [Column(name, name, "text") for name in names]
    rows = [[f"{name} " * 60 + "." for name in names], list(names)]
    content, _ = rendered(tmp_path, columns, rows, "spss")
    path = saved(tmp_path, content)
    header, cells = by_pspp(tmp_path, path)
    assert header == [*names[:9], "A_B_2", "a_b", "Á", "V_ALL"]
    assert cells == rows
    assert by_pyreadstat(path)[0] == rows


@pspp_is_here
def test_a_name_like_the_short_name_of_another_variable_is_kept(tmp_path):
    names = ["v0003", "V0001", "b", "v0000", "V0002", "c"]
    content, _ = rendered(tmp_path, [Column(name, "", "integer") for name in names], [list(range(6))], "spss")
    path = saved(tmp_path, content)
    assert by_pspp(tmp_path, path) == (names, [[str(at) for at in range(6)]])
    assert by_pyreadstat(path)[1].column_names == names


HOSTILE_NAMES = [
    *["ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH", "with"],
    *[
        "",
        " ",
        "1",
        "1a",
        "_x",
        "x_",
        "x.",
        "a b",
        "a-b",
        "a/b",
        "a=b",
        "a\tb",
        "a\nb",
        "a'b",
        'a"b',
        "a;b",
        "$x",
        "#x",
        "@x",
    ],
    *[
        "é" * 33,
        "x" * 65,
        "x" * 64,
        "X" * 64 + "y",
        "年齢",
        "имя",
        "اسم",
        "naïve",
        "😀",
        "a😀",
        "ß",
        "ﬁ",
        "Ⅷ",
        "²",
        "a²",
        "a\u0301",
    ],
    *["=cmd", "a\u200bb", "\ufeffa", "a\u00a0b", "select", "drop table x", "İ", "ı", "ǅ"],
]


@pspp_is_here
def test_hostile_names_become_names_that_pspp_takes(tmp_path):
    # DuckDB's own tables take no empty name, and no two that differ in case only.
    names = {name.casefold(): name for name in HOSTILE_NAMES if name}.values()
    columns = [Column(name, f"label of {at}", "integer") for at, name in enumerate(names)]
    content, _ = rendered(tmp_path, columns, [list(range(len(columns)))], "spss")
    path = saved(tmp_path, content)
    header, cells = by_pspp(tmp_path, path)
    assert cells == [[str(at) for at in range(len(columns))]]
    labels = by_pyreadstat(path)[1].column_labels
    for name, column, label in zip(header, columns, labels, strict=True):
        assert name == column.name or f"[{column.name}]" in label


def test_a_text_past_the_limit_is_cut_at_a_character_and_said(tmp_path):
    columns = [ROW, Column("t", "t", "text"), Column("u", "u", "text")]
    rows = [[1, "é" * 20_000, "a\0b"], [2, "x" + "😀" * 9_000, "\0"], [3, "y" * 32_767, "c "], [4, "z" * 40_000, ""]]
    content, warnings = rendered(tmp_path, columns, rows, "spss")
    found = by_pyreadstat(saved(tmp_path, content))[0]
    assert [row[1] for row in found] == ["é" * 16_383, "x" + "😀" * 8_191, "y" * 32_767, "z" * 32_767]
    assert [row[2] for row in found] == ["ab", "", "c", ""]
    assert warnings == [
        "t: 3 values are cut to 32,767 bytes",
        "u: 2 values had NUL characters, which are taken out",
        "u: 1 value ends in spaces, which SPSS does not keep",
        "u: 1 value is an empty text, which SPSS reads as missing",
    ]


def test_what_spss_cannot_hold_is_left_empty_and_said(tmp_path):
    columns = [
        Column("d", "d", "date"),
        Column("t", "t", "datetime"),
        Column("x", "x", "number"),
        Column("n", "n", "integer"),
    ]
    select = """
        SELECT DATE '1582-10-14' AS d, TIMESTAMP '1582-10-14 23:59:59' AS t, 'nan'::DOUBLE AS x, 9007199254740993 AS n
        UNION ALL SELECT DATE '10000-01-01', TIMESTAMP '10000-01-01', '-inf'::DOUBLE, -9007199254740992
        UNION ALL SELECT DATE '1582-10-15', TIMESTAMP '1582-10-15 00:00:00', 1.7976931348623157e308, 1
        UNION ALL SELECT DATE '9999-12-31', TIMESTAMP '9999-12-31 23:59:59.999999', -1.5, 2"""
    content, warnings = written(result_of(tmp_path, columns, select), columns, tmp_path, "spss")
    assert by_pyreadstat(saved(tmp_path, content))[0] == [
        [None, None, None, 2.0**53],
        [None, None, None, -(2.0**53)],
        [date(1582, 10, 15), datetime(1582, 10, 15), None, 1.0],
        [date(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59), -1.5, 2.0],
    ]
    assert warnings == [
        "d: 2 values before 1582-10-15 or after 9999-12-31 are left empty",
        "t: 2 values before 1582-10-15 or after 9999-12-31 are left empty",
        "x: 3 values are no numbers that SPSS holds and are left empty",
        "n: 1 value past 2^53 is rounded",
    ]


def test_an_hour_that_occurs_twice_shows_twice(tmp_path):
    instants = [[datetime(2024, 11, 3, hour, 30)] for hour in (7, 8, 9, 10)]
    content, _ = rendered(tmp_path, [Column("t", "t", "datetime")], instants, "spss", "America/Vancouver")
    assert by_pyreadstat(saved(tmp_path, content))[0] == [[datetime(2024, 11, 3, hour, 30)] for hour in (0, 1, 1, 2)]


def test_a_multiple_choice_tells_none_chosen_from_no_value(tmp_path):
    rows = [[1, [5]], [2, []], [3, None], [4, [None]], [5, [1, 1, 99]]]
    content, warnings = rendered(tmp_path, [ROW, TOPICS], rows, "spss")
    found = by_pyreadstat(saved(tmp_path, content))[0]
    assert [row[1:] for row in found] == [[1, 0, 0], [0, 0, 0], [None] * 3, [0, 0, 0], [0, 1, 0]]
    assert warnings == ["Topics: 1 value has choices without a definition, which are left out"]


def test_missing_codes_reach_both_ends_of_their_range(tmp_path):
    many = Column(
        "m", "m", "choice", choices=(*(Choice(code, "x", True) for code in (-4, -3, -2, -1, 99)), Choice(1, "y"))
    )
    content, _ = rendered(tmp_path, [many], [[-4], [1], [99]], "spss")
    ranges = by_pyreadstat(saved(tmp_path, content))[1].missing_ranges
    assert sorted(map(str, ranges["m"])) == sorted(map(str, [{"lo": -4.0, "hi": -1.0}, {"lo": 99.0, "hi": 99.0}]))


def records(content, size):
    """The records behind the dictionary of a .sav, as doubles."""
    rows = struct.unpack_from("<i", content, 80)[0]
    return np.frombuffer(content, "<f8", rows * size // 8, len(content) - rows * size).reshape(rows, size // 8)


def test_many_rows_keep_their_order_in_batches_of_arrow(tmp_path):
    columns = [ROW, Column("g", "g", "choice", choices=tuple(Choice(code, f"{code}") for code in range(100)))]
    select = "SELECT i AS Row, (i % 100)::INTEGER AS g FROM range(300000) t(i)"
    content, _ = written(result_of(tmp_path, columns, select), columns, tmp_path, "spss")
    assert (records(content, 16)[:, 0] == np.arange(300_000)).all()


def test_wide_rows_come_in_parts_without_a_gap(tmp_path):
    columns = [ROW, Column("t", "t", "text")]
    select = "SELECT i AS Row, CASE WHEN i = 7 THEN repeat('x', 32767) ELSE 't' || i END AS t FROM range(5000) t(i)"
    content, _ = written(result_of(tmp_path, columns, select), columns, tmp_path, "spss")
    segments = -(-32_767 // 252)
    size = 8 + (segments - 1) * 256 + 8
    assert len(content) > 5_000 * size > 2 * (64 << 20)
    assert (records(content, size)[:, 0] == np.arange(5_000)).all()
    assert content[-size + 8 : -size + 16] == b"t4999   "


def test_byte_codes_and_blocks_hold_any_number_and_text(tmp_path):
    columns = [ROW, Column("x", "x", "number"), Column("s", "s", "text"), Column("y", "y", "number")]
    draw = random.Random(3)
    edges = [-100.0, -99.0, -98.0, 0.0, 150.0, 151.0, 152.0, 0.5, -0.5, 1e300, None]
    rows = [[at, edges[at % 11], None, draw.choice(edges)] for at in range(23)]
    rows += [[at, draw.random(), f"{draw.getrandbits(120):030x}", draw.choice(edges)] for at in range(23, 4_000)]
    con = result_of(tmp_path, columns, rows=rows)
    plain, _ = written(con, columns, tmp_path, "spss")
    packed, _ = written(con, columns, tmp_path, "spss", compressed=True)
    expected = [[float(row[0]), row[1], row[2] or "", row[3]] for row in rows]
    assert by_pyreadstat(saved(tmp_path, plain))[0] == expected
    assert by_pyreadstat(saved(tmp_path, packed))[0] == expected


@pspp_is_here
def test_a_zsav_of_several_blocks_is_read_by_both(tmp_path):
    columns = [ROW, Column("x", "x", "number"), Column("s", "s", "text")]
    select = "SELECT i AS Row, sqrt(i + 0.5) AS x, md5(i::VARCHAR) AS s FROM range(250000) t(i)"
    content, _ = written(result_of(tmp_path, columns, select), columns, tmp_path, "spss", compressed=True)
    path = saved(tmp_path, content)
    frame, _ = pyreadstat.read_sav(path)
    assert (frame["Row"] == np.arange(250_000)).all()
    assert np.allclose(frame["x"], np.sqrt(np.arange(250_000) + 0.5), rtol=1e-15)
    shown = run_pspp(tmp_path, f"GET FILE='{path}'.\nDESCRIPTIVES Row.\n")
    assert "124999.5" in shown
    assert "250000" in shown


def test_a_column_of_choices_without_a_catalogue_is_text(tmp_path):
    content, _ = rendered(tmp_path, [Column("c", "c", "choices")], [[[3, 1, 3]], [None], [[]]], "spss")
    assert by_pyreadstat(saved(tmp_path, content))[0] == [["1;3"], [""], [""]]

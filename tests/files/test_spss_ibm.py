"""The SPSS writer, judged by IBM's own input/output library, which reads what SPSS reads and forgives as little."""

import re
from dataclasses import replace

import pytest

from chalicelib.base.table import Choice, Column
from chalicelib.files import spss_rules as rules
from tests.files.results import rendered
from tests.files.test_spss_file import HOSTILE_NAMES, saved

try:
    import pyspssio
except Exception as error:  # noqa: BLE001 (its shared libraries fail in ways of their own)
    pytest.skip(f"needs IBM's library (uv sync --group ibm): {error}", allow_module_level=True)

both_kinds = pytest.mark.parametrize("compressed", [False, True], ids=["sav", "zsav"])
EDGES = [1, 63, 64, 65, 255, 256, 257, 503, 504, 505, 756, 1_000, 1_024, 1_025, 2_049, 4_097, 8_193, 9_072, 16_385]
TEXT = {"nuls": 0, "trailing": 0, "empty": 0}


def by_ibm(path):
    """The cells, texts without the spaces that fill them, and what the dictionary says."""
    frame, said = pyspssio.read_sav(str(path), convert_datetimes=False, include_user_missing=True)
    rows = [[None if cell != cell else cell for cell in row] for row in frame.itertuples(index=False, name=None)]
    return rows, said


def agreed(tmp_path, columns, rows, *, compressed=False):
    """What IBM's library, pyreadstat and PSPP say alike of the file with these rows: cells and dictionary of the first."""
    content, warnings = rendered(tmp_path, columns, rows, "spss", compressed=compressed)
    path = saved(tmp_path, content)
    cells, said = by_ibm(path)
    theirs, dictionary = by_pyreadstat_plain(path)
    assert said["var_names"] == dictionary.column_names
    assert cells == theirs
    assert said["case_count"] == len(rows)
    assert {name: label for name, label in said["var_labels"].items() if label} == {
        name: label for name, label in dictionary.column_names_to_labels.items() if label
    }
    return cells, said, warnings, path


def by_pyreadstat_plain(path):
    import pyreadstat

    columns, dictionary = pyreadstat.read_sav(
        path, user_missing=True, output_format="dict", disable_datetime_conversion=True
    )
    rows = [[None if cell != cell else cell for cell in row] for row in zip(*columns.values(), strict=True)]
    return rows, dictionary


@both_kinds
def test_texts_of_every_size_are_whole_and_no_variable_is_there_but_they(tmp_path, compressed):
    sizes = [*EDGES, 32_767]
    columns = [Column(f"Text{size}", f"of {size}", "text") for size in sizes]
    rows = [
        ["y" * (size - 1) + "z" for size in sizes],
        [None] * len(sizes),
        ["é" * (size // 2) or "x" for size in sizes],
    ]
    cells, said, warnings, _ = agreed(tmp_path, columns, rows, compressed=compressed)
    assert said["var_names"] == [column.name for column in columns]
    assert cells == [[cell or "" for cell in row] for row in rows]
    assert warnings == []
    assert set(said["var_types"].values()) <= set(rules.TEXT_WIDTHS)


LONG_NAMES = [
    *[
        "OpenAnswer",
        "OpenAnother",
        "opena",
        "OPENA0",
        "OPENA1",
        "V0000",
        "V000",
        "V",
        "v00",
        "abc",
        "ab",
        "a.b",
        "a$b_c",
    ],
    *[
        "年齢",
        "имяпеременной",
        "имя",
        "naïveté",
        "éééé",
        "abcdé",
        "abcd年",
        "ßabcde",
        "ﬁabcd",
        "ıabcde",
        "İabcd",
        "ꭰabc",
    ],
    *["ა123", "ʂabc", "ɐabc", "ſabcde", "ᾳabc", "𐐨abc", "名前が長い", "x" * 64],
]


def test_long_texts_whose_names_begin_alike_are_short_or_not_ascii_stay_whole(tmp_path):
    columns = [Column(name, name, "text") for name in LONG_NAMES]
    rows = [[f"{name} " + "x" * 1_500 + "." for name in LONG_NAMES], list(LONG_NAMES)]
    cells, said, warnings, _ = agreed(tmp_path, columns, rows)
    assert said["var_names"] == LONG_NAMES
    assert cells == rows
    assert warnings == []


def test_segments_are_named_as_ibm_names_its_own(tmp_path):
    import pandas

    for name in set(LONG_NAMES) - {"V000"}:  # which would be like our names of first segments
        path = tmp_path / "theirs.sav"
        pyspssio.write_sav(str(path), pandas.DataFrame({name: ["x"]}), metadata={"var_types": {name: 1_000}})
        found = re.findall(rb"\x02\0\0\0[\xf4\xff]\0{7}.{12}(.{8})", path.read_bytes(), re.DOTALL)
        theirs = [short.decode().rstrip() for short in found[1:]]
        assert list(rules.segment_names([name], [1_000])[0]) == theirs, name


def test_where_short_names_run_out_texts_are_cut_to_255_bytes_and_it_is_said():
    columns = [Column(f"Answer_{at}", "", "text") for at in range(370)]
    made = rules.plan(columns, [{"bytes": 32_767, **TEXT}] * 370, "UTC")
    whole = [variable for variable in made.variables if variable.width == 32_767]
    assert len(whole) == 36**3 // 130
    assert {variable.width for variable in made.variables[len(whole) :]} == {255}
    cut = [warning for warning in made.warnings if "cut to 255 bytes" in warning]
    assert len(cut) == 370 - len(whole)
    names = [name for variable in made.variables for name in variable.segments]
    assert len({name.upper() for name in names}) == len(names) == len(whole) * 130
    # Those that were whole stay whole, whatever else grows.
    before = {key: kept for key, kept in made.promise.items() if key[0] not in ("Answer_0", "Answer_1")}
    again = rules.plan(columns, [{"bytes": 32_767, **TEXT}] * 370, "UTC", before)
    widths = {variable.name: variable.width for variable in again.variables}
    assert all(widths[name] >= rules._sizes(format)[0] for name, format in before.values())


@pytest.mark.judge
def test_texts_cut_for_want_of_short_names_read_the_same_everywhere(tmp_path):
    columns = [Column(f"Answer_{at}", "", "text") for at in range(360)]
    content, warnings = rendered(tmp_path, columns, [["é" * 16_383] * 360], "spss")
    cells, said = by_ibm(saved(tmp_path, content))
    assert said["var_names"] == [column.name for column in columns]
    assert [len(cell) for cell in cells[0]] == [16_383] * 358 + [127] * 2
    assert len(warnings) == 2


def test_no_width_is_a_multiple_of_252():
    assert not [width for width in (*rules.TEXT_WIDTHS, 128, 320) if width % 252 == 0]


TOPICS = Column("Topics", "Topics, several", "choices", choices=(Choice(5, "Health"), Choice(1, "é😀"), Choice(7, "")))
GENDER = Column("Gender", "Gender", "choice", choices=(Choice(1, "Female"), Choice(-9, "Refused", missing=True)))
MANY = Column(
    "Many", "m", "choice", choices=(*(Choice(code, "x", True) for code in (-4, -3, -2, -1, 99)), Choice(1, "y"))
)


@both_kinds
def test_response_sets_labels_and_missing_values_are_seen(tmp_path, compressed):
    columns = [
        Column("Open", "o", "text"),
        TOPICS,
        GENDER,
        MANY,
        replace(TOPICS, name="Other_年齢", label="a\r\nb\t" * 50),
    ]
    rows = [["x" * 3_000, [5, 1], 1, 99, []], ["", None, -9, -3, [7]]]
    cells, said, _, _ = agreed(tmp_path, columns, rows, compressed=compressed)
    sets = said["mrsets"]
    assert {name: one["variable_list"] for name, one in sets.items()} == {
        "$Topics": ["Topics_5", "Topics_1", "Topics_7"],
        "$Other_年齢": ["Other_年齢_5", "Other_年齢_1", "Other_年齢_7"],
    }
    assert sets["$Topics"]["label"] == "Topics, several"
    assert said["var_value_labels"]["Gender"] == {1.0: "Female", -9.0: "Refused"}
    assert said["var_missing_values"]["Gender"] == {"values": [-9.0]}
    assert said["var_missing_values"]["Many"] == {"lo": -4.0, "hi": -1.0, "values": [99.0]}
    assert cells[1][1:4] == [None] * 3


def test_hostile_names_are_names_to_ibm(tmp_path):
    names = {name.casefold(): name for name in HOSTILE_NAMES if name}.values()
    columns = [Column(name, f"label of {at}", "text") for at, name in enumerate(names)]
    cells, said, _, _ = agreed(tmp_path, columns, [[f"{at} " + "x" * 600 for at in range(len(columns))]])
    assert cells == [[f"{at} " + "x" * 600 for at in range(len(columns))]]
    assert len(said["var_names"]) == len(columns)

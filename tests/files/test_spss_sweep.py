"""Random and hostile tables as .sav and .zsav: IBM's library, pyreadstat and PSPP must read what was written, and agree.

A table is made from its seed alone, so a failure is made again with it.
"""

import random
import re
import shutil
from datetime import date, datetime, timedelta

import pytest

from chalicelib.base.table import Choice, Column
from chalicelib.files import spss_rules as rules
from tests.files.results import rendered
from tests.files.test_spss_file import HOSTILE_NAMES, alike, by_pspp, from_spss, run_pspp, saved
from tests.files.test_spss_ibm import EDGES, LONG_NAMES, by_ibm, by_pyreadstat_plain

SEEDS = [*range(10), *(pytest.param(seed, marks=pytest.mark.judge) for seed in range(10, 150))]
LETTERS = "abcXYZ019_.$#@ -é年яß😀\n"
WORDS = [
    "",
    "Age",
    "How often\r\ndo you cook?\t",
    'She said ""no""',
    "é" * 200,
    "x" * 300,
    "😀" * 64,
    " ends in spaces  ",
]
SIZES = [*EDGES, 251, 252, 253, 254, 755, 757, 32_766, 32_767, 32_768, 40_000]
# Codes that are missing, and those that are answers among which they stand.
CODES = [
    ((), (1, 2, 3)),
    ((-9,), (1, 0)),
    ((-9, -8, 99), (1, 2)),
    ((-4, -3, -2, -1), (1, 2)),
    ((-4, -3, -2, -1, 99), (1, 2)),
    ((5, 96, 97, 98, 99), (1, 10, 2_000_000_000)),
    ((1, 3, 5, 7, 9), (2, 4, 6, 8)),
    ((-2_147_483_648, 2_147_483_647), (0,)),
]
DATES = [date(1582, 10, 15), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)]
NUMBERS = [0.0, -99.0, 151.0, 152.0, 0.1, -1e300, 1e-300, 12_345.678, 2.0**53]


def name(draw):
    """Names that are hostile, alike in their first bytes, another's in another case, or like those that we make up."""
    made = [
        lambda: draw.choice(HOSTILE_NAMES),
        lambda: draw.choice(LONG_NAMES),
        lambda: f"OpenAnswer_{draw.randint(1, 99)}",
        lambda: draw.choice(["Open", "OPEN_", "open_0", "oPEN_1", "V0000", "v0001", "V0001_2", "Topics", "topics_1"]),
        lambda: "".join(draw.choice(LETTERS) for _ in range(draw.randint(1, 70))),
    ]
    return draw.choice(made)()


def names(draw, count):
    """So many names that DuckDB keeps apart."""
    found = {}
    while len(found) < count:
        one = name(draw)
        found.setdefault(one.casefold(), one)
    return [one for one in found.values() if one.strip()]


def column(draw, name):
    kind = draw.choice(
        ["text", "text", "text", "choice", "choices", "choices", "number", "integer", "date", "datetime"]
    )
    missing, answers = draw.choice(CODES)
    choices = [*(Choice(code, draw.choice(WORDS), True) for code in missing), *(Choice(c, f"is {c}") for c in answers)]
    draw.shuffle(choices)
    coded = tuple(choices) if kind in ("choice", "choices") else ()
    return Column(name, draw.choice(WORDS), kind, choices=coded, decimals=draw.choice([None, 2]))


def cell(draw, column):
    if draw.random() < 0.2:
        return None
    match column.type:
        case "text":
            size = draw.choice([*SIZES, draw.randint(1, 32_767), draw.randint(0, 80)])
            return cut(draw.choice(["x", "é", "年", "😀 ", "ab\0", '"', "a,\n"]) * size, size)
        case "choice":
            return draw.choice(column.choices).code
        case "choices":
            return draw.sample([choice.code for choice in column.choices], draw.randint(0, len(column.choices)))
        case "number":
            return draw.choice(NUMBERS)
        case "integer":
            return draw.randint(-(10 ** draw.randint(0, 15)), 10 ** draw.randint(0, 15))
        case "date":
            return draw.choice(DATES)
        case _:
            return datetime(1583, 1, 1) + timedelta(seconds=draw.randint(0, 260_000_000_000), microseconds=999_999)


def cut(text, size):
    return text.encode()[:size].decode(errors="ignore")


def expected(column, value):
    """The cells of one value as SPSS shows them."""
    match column.type:
        case "text":
            return [cut((value or "").replace("\0", ""), 32_767).rstrip(" ")]
        case "choices":
            codes = [choice.code for choice in column.choices]
            return [None if value is None else float(code in value) for code in codes]
        case "datetime":
            return [value and value.replace(microsecond=0)]
        case "date":
            return [value]
        case _:
            return [None if value is None else float(value)]


def declared_missing(said, code):
    """Whether IBM's library takes the code for missing."""
    low, high = said.get("lo", 1), said.get("hi", 0)
    return low <= code <= high or code in said.get("values", [])


def read(path):
    """The cells as dates, numbers and texts, and what IBM's library says, once pyreadstat has said the same."""
    cells, said = by_ibm(path)
    theirs, dictionary = by_pyreadstat_plain(path)
    assert cells == theirs
    assert said["var_names"] == dictionary.column_names
    formats = list(dictionary.original_variable_types.values())
    return [[from_spss(one, form) for one, form in zip(row, formats, strict=True)] for row in cells], said


def judged_column(column, named, said):
    """The column's variables mean in the file what the column means."""
    labels = [said["var_labels"][one] for one in named]
    originals = [f"{column.name}_{one.code}" for one in column.choices] if column.type == "choices" else [column.name]
    for one, original, label in zip(named, originals, labels, strict=True):
        whole = rules.without_nul(original)
        assert one == original or f"[{whole}]" in label or label.startswith(whole) or len(label.encode()) > 250, (
            one,
            label,
        )
    if column.type == "choice":
        values = {code: text.rstrip() for code, text in said["var_value_labels"][named[0]].items()}
        assert values == {one.code: (cut(one.label, 120) or str(one.code)).rstrip() for one in column.choices}
        told = said["var_missing_values"].get(named[0], {})
        _, undeclared = rules.missing_of(column.choices)
        for choice in column.choices:
            assert declared_missing(told, choice.code) == (choice.missing and choice.code not in undeclared), choice


def judged(columns, rows, path):
    cells, said = read(path)
    assert said["case_count"] == len(rows)
    wanted = [[cell for at, value in enumerate(row) for cell in expected(columns[at], value)] for row in rows]
    assert cells == wanted
    left = iter(said["var_names"])
    named = [[next(left) for _ in (one.choices if one.type == "choices" else [one])] for one in columns]
    assert next(left, None) is None
    for one, its in zip(columns, named, strict=True):
        judged_column(one, its, said)
    sets = [its for one, its in zip(columns, named, strict=True) if one.type == "choices" and len(its) > 1]
    assert sorted(one["variable_list"] for one in said["mrsets"].values()) == sorted(sets)
    assert all(re.match(r"\$", one) for one in said["mrsets"])
    return wanted, said


def by_pspp_alike(tmp_path, path, wanted, said):
    """PSPP reads the same without a word; a text with a line break or a quote is another in its CSV."""
    header, cells = by_pspp(tmp_path, path)
    assert header == said["var_names"]
    for row, theirs in zip(wanted, (line or [""] for line in cells), strict=True):  # a lone empty cell is an empty line
        assert all(alike(found, one) for found, one in zip(theirs, row, strict=True)), (theirs, row)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_table_reads_as_it_was_written(tmp_path, seed):
    draw = random.Random(seed)
    columns = [column(draw, one) for one in names(draw, draw.randint(1, 9))]
    rows = [[cell(draw, one) for one in columns] for _ in range(draw.randint(0, 5))]
    content, _ = rendered(tmp_path, columns, rows, "spss", compressed=seed % 3 == 0)
    path = saved(tmp_path, content)
    wanted, said = judged(columns, rows, path)
    if shutil.which("pspp"):
        by_pspp_alike(tmp_path, path, wanted, said)
        run_pspp(tmp_path, f"GET FILE='{path}'.\nDISPLAY DICTIONARY.\n")

"""Claims about Parquet: a value arrives digit by digit, as from a CSV of the same values, or its row is rejected."""

import csv
import json
import math
import random
from decimal import Decimal, InvalidOperation

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.base.table import Choice
from chalicelib.imports import reader

CATALOG = Catalog(
    3,
    {
        "Num": Attribute("Num", "", "number", defined_in=1),
        "Text": Attribute("Text", "", "text", defined_in=1),
        "Sex": Attribute("Sex", "", "choice", (Choice(1, "Female"), Choice(2, "Male")), defined_in=1),
    },
)
GOOD_EVENT = {"event_id": "e", "participant_id": "p", "name": "n", "occurred_at": "2026-01-01T00:00:00Z"}
GOOD_PERSON = {"participant_id": "p", "membership": "subscribed"}


class Quiet:
    def at(self, percent: int) -> None:
        pass


def read(folder, kind: str, form: str):
    """What comes of the file `folder`/upload: line -> row, and line -> reason."""
    asked = reader.Asked(kind, form, "01K0", "2026-11-21T16:36:13.250000Z", CATALOG, "500MB")
    outcome = reader.read(asked, folder, Quiet())
    with duckdb.connect() as con:
        found = con.execute(f"SELECT * FROM '{outcome.rows}'")
        names = [column[0] for column in found.description]
        got = {row[1]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
    with outcome.rejects.open(encoding="utf-8-sig", newline="") as file:
        rejected = {int(line): reason for line, reason, _ in [*csv.reader(file)][1:]}
    assert (outcome.accepted, outcome.rejected) == (len(got), len(rejected))
    return got, rejected


def emptied(folder):
    for entry in folder.iterdir():
        if entry.is_file():
            entry.unlink()


def from_parquet(folder, kind: str, columns: dict[str, pa.Array], **options):
    emptied(folder)
    good = GOOD_EVENT if kind == "events" else GOOD_PERSON
    size = len(next(iter(columns.values())))
    constant = {name: pa.array([value] * size) for name, value in good.items() if name not in columns}
    names = [*constant, *columns]
    pq.write_table(pa.table([*constant.values(), *columns.values()], names=names), folder / "upload", **options)
    return read(folder, kind, "parquet")


def from_csv(folder, kind: str, columns: dict[str, list[str | None]]):
    emptied(folder)
    good = GOOD_EVENT if kind == "events" else GOOD_PERSON
    size = len(next(iter(columns.values())))
    constant = {name: [value] * size for name, value in good.items() if name not in columns}
    rows = zip(*constant.values(), *columns.values(), strict=True)
    with (folder / "upload").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NOTNULL)
        writer.writerows([[*constant, *columns], *rows])
    return read(folder, kind, "csv")


def number_text(value) -> str | None:
    """A number in the digits in which a CSV has it; empty where it is missing."""
    if value is None or value != value:
        return None
    if isinstance(value, np.float32):
        return str(float(str(value)))
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def random_values(seed: str, make, *edges) -> list:
    numbers = random.Random(seed)
    return [None, *edges, *(make(numbers) for _ in range(60))]


def whole(low: int, high: int) -> list:
    return random_values(
        "whole", lambda numbers: numbers.randint(low, high) >> numbers.randint(0, 40), low, high, 0, 1, 2
    )


def decimals(precision: int, scale: int) -> list:
    def make(numbers: random.Random) -> Decimal:
        return Decimal(
            numbers.randint(-(10 ** (precision - 1)), 10**precision - 1) // 10 ** numbers.choice([0, 0, precision // 2])
        )

    most = 10**precision - 1
    whole_ones = random_values("decimal", make, Decimal(most), Decimal(-most), Decimal(most - 1), Decimal(0))
    return [value if value is None else Decimal(f"{value}E-{scale}") for value in whole_ones]


def floats(kind: type) -> list:
    def make(numbers: random.Random):
        value = numbers.uniform(-1, 1) * 10.0 ** numbers.randint(-8, 30)
        return kind(round(value, 2) if numbers.random() < 0.5 else value)

    edges = [0.1, 66.67, 1.0, -0.0, 1e15, 1e16, 1e-5, 2.0**24, 2.0**53, 1e30, math.nan, 4206.9]
    return random_values("float", make, *map(kind, edges))


NUMBERS = {
    **{f"int{bits}": (getattr(pa, f"int{bits}")(), whole(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (getattr(pa, f"uint{bits}")(), whole(0, 2**bits - 1)) for bits in (8, 16, 32, 64)},
    "float32": (pa.float32(), floats(np.float32)),
    "float64": (pa.float64(), floats(float)),
    **{f"decimal({p},{s})": (pa.decimal128(p, s), decimals(p, s))
       for p, s in [(1, 0), (9, 2), (18, 0), (18, 18), (28, 4), (38, 0), (38, 10), (38, 38)]},
}  # fmt: skip
PLACES = {
    "participants": ["attributes.Num", "attributes.Text", "attributes.Sex", "participant_id"],
    "events": ["params.x", "event_id"],
}


def spread(kind: str, values: list) -> dict[str, list]:
    """Columns in which each row has one of the values in one place, and each place has each value once."""
    columns = {}
    for n, place in enumerate(PLACES[kind]):
        filler = values[1] if place.endswith("_id") else None
        columns[place] = [filler] * n * len(values) + values + [filler] * (len(PLACES[kind]) - n - 1) * len(values)
    return columns


def check_agreement(folder, kind: str, of: pa.DataType, values: list, texts: list) -> int:
    """Check that both files give the same rows; the number of those that were taken."""
    plain = pa.string() if pa.types.is_dictionary(of) else of
    arrays = {place: pa.array(values, plain).cast(of)
              for place, values in spread(kind, values).items()}  # fmt: skip
    cells = spread(kind, texts)
    mine, refused = from_parquet(folder, kind, arrays)
    theirs, _ = from_csv(folder, kind, cells)
    assert set(mine) == set(theirs), refused
    for line, row in mine.items():
        for place, column in cells.items():
            value = shown(row, place)
            assert value == shown(theirs[line], place), (place, column[line - 1])
            if (column[line - 1] or "").strip() and place != "attributes.Sex":
                assert value == as_number(column[line - 1])
    return len(mine)


def as_number(value: object) -> object:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return value


def shown(row: dict, place: str) -> object:
    """The value as an export shows it: a number by its value, anything else as it is."""
    outer, _, name = place.partition(".")
    value = json.loads(row[outer]).get(name) if name else row[outer]
    return as_number(str(value).lower() if isinstance(value, bool) else value) if value is not None else None


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("kind", PLACES)
def test_a_number_of_parquet_is_the_number_of_the_csv_with_the_same_digits_or_both_are_rejected(tmp_path, name, kind):
    of, values = NUMBERS[name]
    assert check_agreement(tmp_path, kind, of, values, [number_text(value) for value in values]) > len(values)


TEXTS = ["a", None, "007", "1.50", "12345678901234567890123456789012345678", "Female", "2", "1", "7", " ", "1e5", "é", "a;b",
         "true", "2026-01-01", "-5", "0.1", "x" * 128, "x" * 129, "=1+1", "a b"]  # fmt: skip


@pytest.mark.parametrize(
    "of", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("kind", PLACES)
def test_a_text_of_parquet_is_the_text_of_the_csv(tmp_path, kind, of):
    texts = ["a", "a", *TEXTS]
    assert check_agreement(tmp_path, kind, of, texts, texts) > len(texts) // 2


def test_ids_of_38_digits_that_differ_in_the_last_stay_two(tmp_path):
    ids = [Decimal(f"1234567890123456789012345678901234567{last}") for last in (8, 9)]
    array = pa.array(ids, pa.decimal128(38, 0))
    people, _ = from_parquet(tmp_path, "participants", {"participant_id": array, "attributes.Text": array})
    assert [row["participant_id"] for row in people.values()] == [str(one) for one in ids]
    assert [json.loads(row["attributes"])["Text"] for row in people.values()] == [str(one) for one in ids]
    events, _ = from_parquet(
        tmp_path, "events", {"event_id": array, "participant_id": array, "params.campaign_id": array}
    )
    assert [row["event_id"] for row in events.values()] == [str(one) for one in ids]
    assert [str(json.loads(row["params"])["campaign_id"]) for row in events.values()] == [str(one) for one in ids]


def test_a_decimal_past_what_can_be_read_digit_by_digit_is_refused_by_its_type(tmp_path):
    array = pa.array([Decimal("1.5")], pa.decimal256(76, 50))
    with pytest.raises(reader.Broken) as refused:
        from_parquet(tmp_path, "events", {"params.price": array})
    assert "DECIMAL(76, 50)" in refused.value.detail
    assert "params.price" in refused.value.detail


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_nan_is_missing_and_an_infinity_rejects_its_row(tmp_path, kind):
    values = [1.5, math.nan, math.inf, -math.inf]
    for place in ("params.x", "attributes.Num", "attributes.Text"):
        of = "events" if place == "params.x" else "participants"
        rows, refused = from_parquet(tmp_path, of, {place: pa.array(values, kind)})
        assert [json.loads(row[place.partition(".")[0]]) for row in rows.values()] == [
            {place.partition(".")[2]: "1.5" if place == "attributes.Text" else 1.5},
            {},
        ]
        assert list(refused) == [3, 4]
        assert all(reason.startswith(place) for reason in refused.values())


def test_nan_and_infinity_are_the_same_from_a_csv(tmp_path):
    cells = ["NaN", "nan", "", "inf", "-Infinity"]
    rows, refused = from_csv(tmp_path, "events", {"params.x": cells})
    assert [json.loads(row["params"]) for _, row in sorted(rows.items())] == [{}, {}, {"x": ""}]
    assert list(refused) == [5, 6]


def test_two_params_whose_names_differ_in_case_are_kept_apart(tmp_path):
    low, up = pa.array(["low"]), pa.array(["UP"])
    columns = {"params.plan": low, "params.Plan": up, "params.Plan_1": low}
    ((row,), _) = ([*found.values()] for found in from_parquet(tmp_path, "events", columns))
    assert json.loads(row["params"]) == {"plan": "low", "Plan": "UP", "Plan_1": "low"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused_as_an_attribute_and_as_a_param(value):
    from pydantic import ValidationError

    from chalicelib.intake.events import EventRow

    with pytest.raises(ValueError, match="finite"):
        CATALOG.stored("Num", value)
    with pytest.raises(ValidationError, match="finite"):
        EventRow.model_validate({**GOOD_EVENT, "params": {"x": value}})


def test_a_half_is_refused_by_its_type(tmp_path):
    with pytest.raises(reader.Broken, match=r"params\.x is FLOAT16"):
        from_parquet(tmp_path, "events", {"params.x": pa.array([np.float16(0.1)], pa.float16())})

"""The codebook, as values and as CSV."""

import csv
import io

from chalicelib.base.table import Choice, Column
from chalicelib.files.codebook import as_csv, entries

COLUMNS = [
    Column("Participant_Id", "Participant", "text", definition="The id"),
    Column(
        "Gender",
        'How "do" you, identify?',
        "choice",
        "profile",
        choices=(Choice(1, "Female"), Choice(2, "Male"), Choice(-9, "=Refused", missing=True)),
    ),
    Column("ResponseRate", "=Rate", "number", "participation", "100 x ...,\nrounded", decimals=2),
]


def test_each_column_has_an_entry_that_says_what_it_means():
    first, second, third = entries(COLUMNS)
    assert first == {
        "name": "Participant_Id",
        "label": "Participant",
        "type": "text",
        "value_labels": [],
        "source": "system",
        "definition": "The id",
    }
    assert second["source"] == "profile"
    assert second["value_labels"] == [
        {"code": 1, "label": "Female", "missing": False},
        {"code": 2, "label": "Male", "missing": False},
        {"code": -9, "label": "=Refused", "missing": True},
    ]
    assert (third["type"], third["definition"]) == ("number", "100 x ...,\nrounded")


def test_the_csv_is_known_letter_by_letter():
    assert as_csv(entries(COLUMNS)) == (
        "\ufeffname,label,type,value_labels,source,definition\n"
        "Participant_Id,Participant,text,,system,The id\n"
        'Gender,"How ""do"" you, identify?",choice,1=Female; 2=Male; \'-9==Refused,profile,\n'
        'ResponseRate,\'=Rate,number,,participation,"100 x ...,\nrounded"\n'
    )


def test_no_cell_of_the_csv_is_a_formula():
    hostile = Column("=a", "+b", "choice", "profile", "@c", choices=(Choice(-1, "x"),))
    rows = list(csv.reader(io.StringIO(as_csv(entries([hostile])).removeprefix("\ufeff"))))
    assert rows[1] == ["'=a", "'+b", "choice", "'-1=x", "profile", "'@c"]


def test_no_columns_give_a_header():
    assert as_csv(entries([])) == "\ufeffname,label,type,value_labels,source,definition\n"

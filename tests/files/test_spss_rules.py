"""SPSS's rules: tables of what must come of names, labels, formats and missing values."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.base.table import Choice, Column
from chalicelib.files import spss_rules as rules
from chalicelib.files.spss_rules import Missing, missing_of, number_format, plan, unique_names, valid_name

RESERVED = ["ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"]


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("Age", "Age"),
        ("Participant_Id", "Participant_Id"),
        ("a.b$c#d@e", "a.b$c#d@e"),
        ("Élan", "Élan"),
        ("年齢", "年齢"),
        ("1st", "V_1st"),
        ("_private", "V_private"),
        ("@mail", "V_@mail"),
        ("$x", "V_$x"),
        ("#scratch", "V_#scratch"),
        ("first name", "first_name"),
        ("a-b/c", "a_b_c"),
        ("ends.", "ends"),
        ("ends_", "ends"),
        ("ends_.._", "ends"),
        ("with", "V_with"),
        ("All", "V_All"),
        ("", "V"),
        ("😀", "V"),
        ("___", "V"),
        ("a\0b\n", "a_b"),
        ("é" * 33, "é" * 32),
        ("x" * 63 + "_y", "x" * 63),
    ],
)
def test_a_name_becomes_valid_and_stays_as_like_as_can_be(given_name, name):
    assert valid_name(given_name) == name


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["Age", "age", "AGE"], ["Age", "age_2", "AGE_3"]),
        (["a b", "a_b", "a-b"], ["a_b_2", "a_b", "a_b_3"]),
        (["x" * 64, "x" * 65], ["x" * 64, "x" * 62 + "_2"]),
        (["A_2", "A", "a"], ["A_2", "A", "a_3"]),
        (["ÉLAN", "élan"], ["ÉLAN", "élan_2"]),
        (["id", "ıd", "ſd", "sd"], ["id", "ıd_2", "ſd", "sd_2"]),
        (["age", "ａge", "é", "e\u0301"], ["age", "ａge_2", "é", "e\u0301_2"]),
    ],
)
def test_clashing_names_give_way_and_valid_ones_stay(wanted, names):
    assert unique_names([(name, "") for name in wanted]) == names


def test_the_variable_of_a_choice_keeps_its_code_whatever_is_cut():
    assert valid_name("Topics", "_7") == "Topics_7"
    assert valid_name("x" * 64, "_12") == "x" * 61 + "_12"
    assert valid_name("Topics", "_-9") == "Topics__9"
    assert valid_name("1", "_1") == "V_1_1"


@given(st.lists(st.one_of(st.text(max_size=70), st.sampled_from(["A", "a", "ALL", "1", "é" * 40, "a b", "a_b"]))))
def test_any_names_come_out_valid_unique_and_the_same_each_time(wanted):
    names = unique_names([(name, "") for name in wanted])
    assert names == unique_names([(name, "") for name in wanted])
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert len(name.encode()) <= 64
        assert name[0].isalpha()
        assert re.fullmatch(r"[\w.$#@]+", name) or not name.isascii()
        assert name[-1] not in "._"
        assert name.upper() not in RESERVED


def test_a_thousand_alike_are_told_apart_at_once():
    names = unique_names([("same name", "")] * 5_000)
    assert names[-1] == "same_name_5000"
    assert len(set(names)) == 5_000


def test_a_label_is_cut_at_a_character_and_keeps_zone_and_original():
    assert rules.variable_label("Joined", "t", "t", "Asia/Tokyo") == ("Joined (Asia/Tokyo)", False)
    assert rules.variable_label("Age", "my age", "my_age", "") == ("Age [my age]", False)
    assert rules.variable_label("", "my age", "my_age", "") == ("my age", False)
    label, is_cut = rules.variable_label("é" * 200, "my age", "my_age", "")
    assert is_cut
    assert label == "é" * 123 + " [my age]"
    assert len(label.encode()) <= 256
    assert rules.variable_label("é" * 128, "a", "a", "") == ("é" * 128, False)
    assert rules.variable_label("a\0b", "a", "a", "") == ("ab", False)


def choices(missing, answers=()):
    return [Choice(code, str(code), missing=True) for code in missing] + [Choice(code, str(code)) for code in answers]


@pytest.mark.parametrize(
    ("missing", "answers", "declared", "left"),
    [
        ([], [1, 2], Missing(), ()),
        ([-9], [1, 2], Missing((-9,)), ()),
        ([99, 97, 98], [1], Missing((97, 98, 99)), ()),
        ([96, 97, 98, 99], [1, 2], Missing((), (96, 99)), ()),
        ([-1, 97, 98, 99], [1, 2], Missing((-1,), (97, 99)), ()),
        ([-9, -8, -7, 99], [1, 2], Missing((99,), (-9, -7)), ()),
        ([1, 3, 5, 7], [2, 4, 6], Missing((1, 3, 5)), (7,)),
        ([-2, -1, 98, 99], [1], Missing((-2, -1, 98)), (99,)),
    ],
)
def test_missing_codes_are_declared_exactly_or_named(missing, answers, declared, left):
    assert missing_of(choices(missing, answers)) == (declared, left)


@given(st.sets(st.integers(-20, 20), max_size=8), st.sets(st.integers(-20, 20), max_size=8))
def test_no_answer_is_ever_declared_missing(missing, answers):
    answers -= missing
    declared, left = missing_of(choices(missing, answers))

    def is_declared(code):
        return code in declared.values or bool(declared.range and declared.range[0] <= code <= declared.range[1])

    assert not any(is_declared(code) for code in answers)
    assert {code for code in missing if not is_declared(code)} == set(left)
    assert len(declared.values) <= (1 if declared.range else 3)


@pytest.mark.parametrize(
    ("low", "high", "decimals", "expected"),
    [
        (None, None, 0, "F8.0"),
        (0, 12, 0, "F8.0"),
        (-1, 99_999_999, 0, "F8.0"),
        (0, 2**53, 0, "F16.0"),
        (0, 100, 2, "F8.2"),
        (-123456.5, 0, 2, "F12.2"),
        (0, 10**13, 0, "F16.0"),
        (0, 1e300, 2, "F20.2"),
        (0, 1, 30, "F20.18"),
    ],
)
def test_a_number_is_shown_in_f8_unless_it_needs_more(low, high, decimals, expected):
    assert number_format(low, high, decimals) == expected


def test_the_dictionary_of_each_type():
    columns = [
        Column("Text", "A text", "text"),
        Column("Joined", "Joined", "datetime"),
        Column("Born", "", "date"),
        Column("ChatsInvited", "Invited", "integer"),
        Column("ResponseRate", "Rate", "number", decimals=2),
        Column("Yes", "Yes?", "boolean"),
        Column("Gender", "Gender", "choice", choices=(Choice(1, "Female"), Choice(-9, "Refused", missing=True))),
        Column("Topics", "Topics", "choices", choices=(Choice(1, "Health"), Choice(2, "Food"))),
    ]
    text = {"bytes": 12, "nuls": 0, "long": 0, "trailing": 0, "empty": 0}
    number = {"low": 0, "high": 9, "outside": 0, "fractional": 0, "inexact": 0}
    measured = [text, {"outside": 0}, {"outside": 0}, number, number, {}, {}, {"unknown": 0}]
    made = plan(columns, measured, "America/Vancouver")
    shown = [(v.name, v.label, v.format, v.measure, v.value_labels, v.missing.values) for v in made.variables]
    no_yes = ((0, "No"), (1, "Yes"))
    assert shown == [
        ("Text", "A text", "A64", "nominal", (), ()),
        ("Joined", "Joined (America/Vancouver)", "DATETIME20", "scale", (), ()),
        ("Born", "Born", "DATE11", "scale", (), ()),
        ("ChatsInvited", "Invited", "F8.0", "scale", (), ()),
        ("ResponseRate", "Rate", "F8.2", "scale", (), ()),
        ("Yes", "Yes?", "F8.0", "nominal", ((0, "false"), (1, "true")), ()),
        ("Gender", "Gender", "F8.0", "nominal", ((1, "Female"), (-9, "Refused")), (-9,)),
        ("Topics_1", "Topics: Health", "F8.0", "nominal", no_yes, ()),
        ("Topics_2", "Topics: Food", "F8.0", "nominal", no_yes, ()),
    ]
    assert [(one.name, one.label, one.variables) for one in made.sets] == [
        ("$Topics", "Topics", ("Topics_1", "Topics_2"))
    ]
    assert made.warnings == ()


def test_every_loss_is_said_once_for_each_column():
    column = Column("Text", "l" * 300, "text")
    found = {"bytes": 40_000, "nuls": 1, "long": 2_000, "trailing": 3, "empty": 4}
    gender = Column(
        "Gender", "Gender", "choice", choices=(Choice(1, "é" * 61), Choice(2, "b\0"), *choices(range(3, 7)))
    )
    spread = Column("Spread", "Spread", "choice", choices=tuple(choices([1, 3, 5, 7], [2, 4, 6])))
    amount = Column("Amount", "Amount", "integer")
    measured = [found, {}, {}, {"low": 0, "high": 2**60, "inexact": 1}]
    assert plan([column, gender, spread, amount], measured, "UTC").warnings == (
        "Text: the label of Text is cut to 256 bytes",
        "Text: 1 value had NUL characters, which are taken out",
        "Text: 2,000 values are cut to 32,767 bytes",
        "Text: 3 values end in spaces, which SPSS does not keep",
        "Text: 4 values are empty texts, which SPSS reads as missing",
        "Gender: 1 value label is cut to 120 bytes",
        "Gender: 1 value label had NUL characters, which are taken out",
        "Spread: SPSS has no room to declare the codes 7 missing; they read as answers",
        "Amount: 1 value past 2^53 is rounded",
    )

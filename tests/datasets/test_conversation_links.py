"""The dataset conversation_links: two columns, in the order in which links were issued."""

import duckdb

from chalicelib.base.table import PHYSICAL
from chalicelib.datasets import conversation_links


def test_each_link_is_the_stem_and_its_pid_in_the_order_of_the_view():
    table = conversation_links.table("https://host/c/a1b2?pid=")
    con = duckdb.connect()
    con.execute("CREATE VIEW issued AS SELECT unnest(['z', 'a', 'm']) AS pid")
    found = con.execute(table.sql, table.parameters)
    assert [(name, str(kind)) for name, kind, *_ in found.description] == [
        (column.name, "VARCHAR") for column in table.columns
    ]
    assert {PHYSICAL[column.type] for column in table.columns} == {"VARCHAR"}
    assert found.fetchall() == [(f"https://host/c/a1b2?pid={text}", text) for text in "zam"]


def test_the_columns_are_those_of_the_contract():
    assert [column.name for column in conversation_links.COLUMNS] == ["link", "pid"]
    assert all(column.source == "link" and column.definition for column in conversation_links.COLUMNS)


def test_a_stem_is_a_value_and_never_sql():
    con = duckdb.connect()
    con.execute("CREATE VIEW issued AS SELECT 'p' AS pid")
    table = conversation_links.table("x' || (SELECT 1) || '")
    assert con.execute(table.sql, table.parameters).fetchall() == [("x' || (SELECT 1) || 'p", "p")]

"""The dictionary of a saved export's SPSS files: the same run after run, whatever the day's data are."""

import pyreadstat
import pytest

from chalicelib.base.leases import Superseded
from chalicelib.base.tenant import Tenant
from chalicelib.exports.row import Dictionary, dictionary
from chalicelib.runs import dictionaries, life, worker
from tests.deployed import Community, deployed, forgotten
from tests.files.test_spss_file import pspp_is_here, run_pspp

COLUMNS = {"system": ["Participant_Id", "EmailAddress"], "profile": "all", "participation": []}
DATASET = {"kind": "participants", "memberships": ["subscribed"], "columns": COLUMNS}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("dictionaries")) as deployment:
        yield deployment


@pytest.fixture
def community(shared):
    yield Community(shared)
    forgotten(shared)


def saved(community):
    community.define("Note")
    community.define("Amount", "number")
    community.define("Topics", "choice", multiple=True, choices=[{"code": 1, "label": "A"}, {"code": 2, "label": "B"}])
    return community.save(dataset=DATASET, format="spss")


def report(community, number, note, amount=1, **more):
    attributes = {"Note": note, "Amount": amount, "Topics": [1], **more}
    community.report({"participant_id": f"p-{number}", "membership": "subscribed", "attributes": attributes})


def run_of(community, made):
    return community.call("POST", f"/v1/exports/{made['id']}/runs", {}).json()


def file_of(community, made, folder, name):
    """A finished run and the path of its file."""
    run = community.finished(run_of(community, made))
    assert run["status"] == "completed", run["error"]
    row = life.get(community.deployment.services, community.domain, run["id"])
    path = folder / name
    path.write_bytes(community.deployment.services.bucket.get(row.file.key))
    return run, path


def said(path):
    dictionary = pyreadstat.read_sav(path)[1]
    return {
        "labels": dictionary.column_names_to_labels,
        "formats": dictionary.original_variable_types,
        "values": dictionary.variable_value_labels,
        "missing": dictionary.missing_ranges,
        "measures": dictionary.variable_measure,
    }


@pspp_is_here
def test_other_answers_of_another_day_change_nothing(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    _, first = file_of(community, made, tmp_path, "first.sav")
    report(community, "a-much-longer-id-than-before" * 4, "a longer answer than anybody gave before", 12_345.678)
    report(community, 1, None, None)
    run, second = file_of(community, made, tmp_path, "second.sav")
    assert said(second) == said(first)
    assert said(first)["formats"]["EmailAddress"] == "A320"
    assert said(first)["formats"]["Participant_Id"] == "A128"
    assert said(first)["formats"]["Note"] == "A64"
    assert run["warnings"] == []
    joined(tmp_path, first, second)


@pspp_is_here
def test_the_run_that_widens_says_so_once_and_waves_join_after_it(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    file_of(community, made, tmp_path, "first.sav")
    report(community, 2, "x" * 300)
    wider, second = file_of(community, made, tmp_path, "second.sav")
    assert said(second)["formats"]["Note"] == "A512"
    (warning,) = wider["warnings"]
    assert "ALTER TYPE Note (A512)" in warning
    report(community, 2, "y")
    third_run, third = file_of(community, made, tmp_path, "third.sav")
    assert third_run["warnings"] == []
    assert said(third) == said(second)
    joined(tmp_path, second, third)


def joined(folder, one, other):
    """PSPP must put two waves together, below each other and side by side, without a word."""
    run_pspp(folder, f"ADD FILES /FILE='{one}' /FILE='{other}'.\nEXECUTE.\n")
    run_pspp(folder, f"MATCH FILES /FILE='{one}' /FILE='{other}' /BY Participant_Id.\nEXECUTE.\n")


def test_a_name_that_files_have_had_is_not_given_to_another_variable(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    file_of(community, made, tmp_path, "first.sav")
    community.define("Topics_2")
    _, second = file_of(community, made, tmp_path, "second.sav")
    names = list(said(second)["labels"])
    assert names[-3:] == ["Topics_1", "Topics_2", "Topics_2_2"]
    assert said(second)["formats"]["Topics_2"] == "F8.0"


def test_a_patch_of_the_dataset_chooses_anew(community, tmp_path):
    made = saved(community)
    report(community, 1, "x" * 300)
    _, first = file_of(community, made, tmp_path, "first.sav")
    report(community, 1, "short")
    path = f"/v1/exports/{made['id']}"
    assert community.call("PATCH", path, {"description": "another"}).status == 200
    _, second = file_of(community, made, tmp_path, "second.sav")
    assert said(second) == said(first)
    assert (
        community.call("PATCH", path, {"dataset": {**DATASET, "memberships": ["purged", "subscribed"]}}).status == 200
    )
    assert community.call("PATCH", path, {"dataset": DATASET}).status == 200
    _, third = file_of(community, made, tmp_path, "third.sav")
    assert said(third)["formats"]["Note"] == "A64"


def kept(community, made):
    tenant = Tenant(community.deployment.services, community.domain)
    found = tenant.get(Dictionary, Dictionary.place(made["id"]))
    return found and found.variables


def test_a_run_that_is_canceled_before_its_end_changes_nothing(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    file_of(community, made, tmp_path, "first.sav")
    before = kept(community, made)
    report(community, 1, "x" * 300)
    services = community.deployment.services
    run = life.lease(services, community.domain, run_of(community, made)["id"], "me")
    mine = worker._made(services, run)
    life.cancel(services, community.domain, run.id)
    with pytest.raises(Superseded):
        worker._committed(services, run, mine)
    assert kept(community, made) == before


def test_of_two_runs_that_race_the_narrower_is_written_anew(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    services = community.deployment.services
    first = life.lease(services, community.domain, run_of(community, made)["id"], "one")
    narrow = worker._made(services, first)
    report(community, 1, "x" * 300)
    _, path = file_of(community, made, tmp_path, "wider.sav")
    wide = kept(community, made)
    assert worker._committed(services, first, narrow) is False
    assert worker._attempt(services, first) == "completed"
    assert kept(community, made) == wide
    row = life.get(services, community.domain, first.id)
    content = services.bucket.get(row.file.key)
    (tmp_path / "again.sav").write_bytes(content)
    assert said(tmp_path / "again.sav") == said(path)


def test_a_hundred_thousand_variables_are_remembered_as_they_were():
    promise = {
        (f"Question_{at}", code): (f"Question_{at}_{code}", "F8.0")
        for at in range(100)
        for code in (*range(-2, 400), *range(500, 1_100, 2), 2_000_000_000)
    }
    promise |= {("Note", None): ("Note", "A64"), ("Topics", 2): ("Topics_2_2", "F8.0"), ("Topics", 3): ("T", "F12.0")}
    made = dictionary("exp_1", promise)
    assert made.promise == promise
    assert len(made.variables) < dictionaries.MAX_BYTES / 4
    assert dictionary("exp_1", {}).promise == {}


def test_a_dictionary_too_large_to_remember_is_told(community, tmp_path, monkeypatch):
    made = saved(community)
    report(community, 1, "short")
    monkeypatch.setattr(dictionaries, "MAX_BYTES", 100)
    run, _ = file_of(community, made, tmp_path, "first.sav")
    assert run["warnings"] == [dictionaries.TOO_MANY]
    assert kept(community, made) is None


def test_a_deleted_export_leaves_no_promise(community, tmp_path):
    made = saved(community)
    report(community, 1, "short")
    file_of(community, made, tmp_path, "first.sav")
    assert kept(community, made)
    assert community.call("DELETE", f"/v1/exports/{made['id']}").status == 204
    assert kept(community, made) is None

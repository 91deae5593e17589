"""Claims about purging a participant: at once in what is read, within a day in what is stored, and for good."""

import json

import pytest

from chalicelib import jobs, sweeper
from chalicelib.base import messages
from chalicelib.imports import imports, judge
from chalicelib.intake import purge
from chalicelib.runs import erasure, life, row
from chalicelib.web.http import Call, Principal
from tests.builders import problem
from tests.deployed import _items
from tests.imports.uploads import csv_of, imported, rejected
from tests.intake.purges import jobs_sent, purged
from tests.lake.history import compacted, found_in_storage, happened, objects, someone

pytestmark = pytest.mark.slow

CANARY = "canary-of-the-purged"


def a_day(community):
    """What goes on in production until a day has passed: the sweeper, and the jobs that it sends."""
    services = community.deployment.services
    for _ in range(16):
        community.deployment.clock.advance(hours=1.5)
        sweeper.sweep(services)
        for message in jobs_sent(services):
            if message["domain"] == community.domain:
                jobs.work(services, messages.JOBS.validate_python(message), "invocation-1")
        erasure.erase_files(services, community.domain)
        compacted(community)


def told(community):
    community.define("Nickname")
    community.define("Age", "number")
    canary = someone(1, email=f"{CANARY}@example.org", created_at="2020-01-01T00:00:00Z",
                     attributes={"Nickname": f"{CANARY}-nick", "Age": 40})  # fmt: skip
    community.report(canary, someone(2, attributes={"Nickname": "stays", "Age": 50}))
    community.tell(happened(1, 1, "chat_invited", 1), happened(2, 1, "chat_completed", 2))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_email_and_attributes_are_gone_at_once_and_all_else_stays(community, is_compacted):
    told(community)
    if is_compacted:
        compacted(community)
    before = community.rows()
    purged(community)
    after = community.rows()
    assert after[1] == before[1]
    assert before[0]["Nickname"] == f"{CANARY}-nick"
    gone = {"EmailAddress": "", "MembershipStatus": "3", "Nickname": "", "Age": ""}
    assert after[0] == {**before[0], **gone}
    assert after[0]["ChatsCompleted"] == "1"
    assert after[0]["CreatedAt"] == "2020-01-01 00:00:00"
    compacted(community)
    assert community.rows() == after


@pytest.mark.parametrize("is_compacted", [False, True])
def test_within_a_day_no_version_of_any_object_holds_a_byte_of_it(community, is_compacted):
    told(community)
    community.rows()
    parquet = community.finished(community.save(run=True, format="parquet")["run"])
    if is_compacted:
        compacted(community)
        community.report(someone(1, email=f"{CANARY}-2@example.org"))
    assert found_in_storage(community, CANARY.encode())
    purged(community)
    a_day(community)
    assert not found_in_storage(community, CANARY.encode())
    assert community.call("GET", f"/v1/runs/{parquet['id']}").json()["status"] == "expired"
    assert [row["Nickname"] for row in community.rows()] == ["", "stays"]


def test_a_feed_that_lags_brings_nothing_back_but_dates(community):
    told(community)
    purged(community)
    for round_ in range(2):
        community.report(someone(1, email=f"{CANARY}-late@example.org", attributes={"Nickname": CANARY},
                                 subscribed_at=f"2026-02-0{round_ + 1}T00:00:00Z"))  # fmt: skip
        row = community.rows()[0]
        assert (row["EmailAddress"], row["Nickname"], row["MembershipStatus"]) == ("", "", "3")
        assert row["SubscribedAt"] == f"2026-02-0{round_ + 1} 00:00:00"
        compacted(community)
        assert community.rows()[0] == row
    a_day(community)
    assert not found_in_storage(community, CANARY.encode())


def test_an_id_never_seen_is_not_there_and_one_seen_anywhere_is(community):
    problem(purged(community, "p1", 404), 404)
    problem(purged(community, "no%20id", 404), 404)
    community.tell(happened(1, 7, "chat_invited", 1), happened(2, 8, "note", 1, None))
    community.report(someone(1))
    purged(community, "p1")
    purged(community, "p7")
    compacted(community)
    purged(community, "p8")
    problem(purged(community, "p2", 404), 404)
    community.report(someone(2))
    compacted(community)
    purged(community, "p2")


def test_it_may_be_asked_again_and_is_written_down_once_without_whom(community):
    community.report(someone(1))
    purged(community)
    purged(community)
    audit = community.deployment.services.store.query(f"audit/{community.domain}")
    assert len(audit) == 1
    assert audit[0]["action"] == "purge"
    assert "p1" not in audit[0].values()


def test_another_domain_cannot_purge_and_only_some_roles_may(community):
    from tests.deployed import Community

    community.report(someone(1))
    other = Community(community.deployment)
    problem(purged(other, "p1", 404), 404)
    viewer = community.call("POST", "/v1/keys", {"name": "v", "role": "viewer"}).json()["key"]
    answer = community.deployment.call("DELETE", "/v1/participants/p1/personal-data", viewer)
    assert answer.status == 403


def test_the_files_of_runs_that_began_before_are_erased_and_later_ones_stay(community):
    told(community)
    early = community.finished(community.save(run=True)["run"])
    harmless = {
        "kind": "participants",
        "memberships": ["subscribed"],
        "columns": {"system": ["Participant_Id"], "profile": []},
    }
    plain = community.finished(community.save(run=True, dataset=harmless)["run"])
    events = {"kind": "events", "events": ["chat_invited"], "params": []}
    journal = community.finished(community.save(run=True, dataset=events)["run"])
    community.deployment.clock.advance(seconds=1)
    purged(community)
    community.deployment.clock.advance(seconds=1)
    late = community.finished(community.save(run=True)["run"])
    services = community.deployment.services
    for run in (early, plain, journal, late):
        assert run["status"] == "completed"
    for _ in range(2):
        sweeper.sweep(services)
        erasure.erase_files(services, community.domain)
        community.deployment.clock.advance(minutes=11)

    def status(run):
        return community.call("GET", f"/v1/runs/{run['id']}").json()["status"]

    assert [status(run) for run in (early, plain, journal, late)] == ["expired", "completed", "expired", "completed"]
    assert not [key for key in objects(community, "exports/") if early["id"] in key]
    assert community.domain not in {item["domain"] for item in services.store.due("purge", "9", 100)}


def test_a_purge_that_a_compaction_did_not_know_of_is_carried_out_by_the_next_one(community):
    """The compaction has read who is purged, and the purge comes before it commits."""
    from chalicelib import kinds
    from chalicelib.intake import attributes
    from chalicelib.lake import compaction

    services = community.deployment.services
    told(community)

    def known():
        found = (attributes.catalog(services, community.domain), kinds.purged(services, community.domain))
        principal = Principal(community.domain, "key_x", "admin")
        purge.purge(Call(services, principal, {}, {}, {}, services.seed()), "p1")
        return found

    compaction.compact(services, community.domain, known)
    assert community.rows()[0]["EmailAddress"] == ""
    a_day(community)
    assert not found_in_storage(community, CANARY.encode())


def test_the_jobs_queue_carries_both_jobs_out(community):
    services = community.deployment.services
    told(community)
    run = community.finished(community.save(run=True)["run"])
    purged(community)
    sweeper.sweep(services)
    ours = [message for message in jobs_sent(services) if message["domain"] == community.domain]
    assert sorted(message["job"] for message in ours) == ["compact", "erase"]
    for message in ours:
        jobs.work(services, messages.JOBS.validate_python(message), "invocation-1")
    assert services.store.get(f"lake/{community.domain}", "manifest")["version"] == 1
    assert community.call("GET", f"/v1/runs/{run['id']}").json()["status"] == "expired"


# Everything at once


def uploaded(community, name: str, body: bytes) -> str:
    """An import of participants, of an upload; read. Its id."""
    found = imported(community, "participants", name, body)
    assert found["status"] in ("completed", "failed")
    return found["id"]


def crumbs(community) -> None:
    """Leave the canary wherever a participant's data can come to lie."""
    services = community.deployment.services
    header = ["participant_id", "membership", "email", "attributes.Nickname", "attributes.Age"]
    mail = f"{CANARY}@example.org"
    rows = csv_of(header, ["p1", "subscribed", mail, f"{CANARY}-csv", "41"], ["p1", "subscribed", mail, CANARY, "old"])
    found = uploaded(community, "csv", rows)
    # Sent once more to a URL that still takes it.
    services.bucket.put(imports.uploaded(community.domain, found), rows, "text/csv")
    uploaded(community, "csv", b"participant_id,shoe\n" + CANARY.encode())
    lines = "".join(json.dumps({"participant_id": "p1", "membership": is_good, "email": mail}) + "\n"
                    for is_good in ("subscribed", "odd"))  # fmt: skip
    services.bucket.put(f"inbox/{community.domain}/participants/{1}.ndjson", lines.encode(), "x/y")
    services.bucket.put(f"inbox/{community.domain}/participants/{1}.ndjson", lines.encode() * 2, "x/y")
    never = community.call("POST", "/v1/imports", {"kind": "participants", "format": "csv"}).json()["id"]
    services.bucket.put(imports.uploaded(community.domain, never), rows, "text/csv")
    for form, options in (("csv", {"compression": "gzip"}), ("parquet", {}), ("ndjson", {}), ("spss", {}),
                          ("spss", {"compressed": True})):  # fmt: skip
        run = community.finished(community.save(run=True, format=form, format_options=options)["run"])
        assert run["status"] == "completed", run
    # An attempt that died after it had stored its file, of a run that another one could not bring to its end.
    run = community.save(run=True)["run"]
    services.bucket.put(f"exports/{community.domain}/{run['id']}/1-file.csv", rows, "text/csv")
    place = row.place(community.domain, run["id"])
    taken = life.lease(services, community.domain, run["id"], "worker")
    assert life.fail(services, taken, row.Failure("broken", "It broke."))
    assert services.store.get(*place)["status"] == "failed"
    for area in ("lake", "exports", "imports"):
        key = f"{area}/{community.domain}/x/never-ended"
        begun = services.aws.s3.create_multipart_upload(Bucket=services.settings.bucket, Key=key)["UploadId"]
        services.aws.s3.upload_part(Bucket=services.settings.bucket, Key=key, UploadId=begun, PartNumber=1, Body=rows)


def pieces(community) -> list[str]:
    """The keys of the domain's uploads that never ended."""
    bucket = community.deployment.services.bucket
    found = bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    return [upload["Key"] for upload in found if community.domain in upload["Key"].split("/")]


def test_within_a_day_not_a_byte_of_it_is_anywhere_and_all_else_is_as_it_was(community):
    told(community)
    again = {"participants": [someone(1, email=f"{CANARY}@example.org", attributes={"Nickname": CANARY, "Age": 1})]}
    assert community.call("POST", "/v1/participants", again, Idempotency_Key="k").status == 202
    crumbs(community)
    areas = {key.partition("/")[0] for key in found_in_storage(community, CANARY.encode())}
    assert areas == {"lake", "exports", "imports", "inbox"}
    assert len(pieces(community)) == 3
    before = community.rows()
    purged(community)
    assert CANARY not in repr(community.rows())
    a_day(community)
    assert found_in_storage(community, CANARY.encode()) == []
    assert pieces(community) == []
    assert CANARY not in repr([*dict(_items(community.deployment)).values()])
    after = community.rows()
    assert CANARY not in repr(after)
    kept = ("CreatedAt", "ChatsInvited", "ChatsCompleted", "LastInvitedDate", "LastCompletionDate", "ResponseRate")
    assert [[row[name] for name in kept] for row in after] == [[row[name] for name in kept] for row in before]
    assert [row["Participant_Id"] for row in after] == [row["Participant_Id"] for row in before]


def test_a_rejected_row_of_a_feed_that_lags_does_not_show_a_purged_participant(community):
    told(community)
    purged(community)
    header = ["participant_id", "membership", "email", "attributes.Age"]
    rows = csv_of(header, ["p1", "subscribed", f"{CANARY}@example.org", "old"], ["p2", "subscribed", "b@x.org", "old"])
    found = imported(community, "participants", "csv", rows)
    shown = {line: row for line, _, row in rejected(community, found)}
    assert shown == {2: judge.WITHHELD, 3: "p2,subscribed,b@x.org,old"}
    assert found_in_storage(community, CANARY.encode()) != []
    a_day(community)
    assert found_in_storage(community, CANARY.encode()) == []

"""No domain learns anything of another: not by an id, not by a name, not in a file and not in the log."""

import gzip
import itertools
import re

import pytest

from chalicelib import door
from tests.builders import export
from tests.deployed import deployed, logged
from tests.tenants import lived_in

pytestmark = pytest.mark.slow

# Part of everything that domain A wrote; nowhere else may it be seen.
CANARY = "c4n4ry"
NEVER = {
    "key_id": "key_01M7ZFEAA2N3KH726V2M2X9T9C",
    "name": "Never",
    "export_id": "exp_01M7ZFEAA2N3KH726V2M2X9T9C",
    "run_id": "run_01M7ZFEAA2N3KH726V2M2X9T9C",
    "segment_id": "1795278973250999",
    "webhook_id": "whk_01M7ZFEAA2N3KH726V2M2X9T9C",
    "delivery_id": "01M7ZFEAA2N3KH726V2M2X9T9C",
    "conversation_id": "cnv_01M7ZFEAA2N3KH726V2M2X9T9C",
    "pid": "A" * 24,
    "import_id": "imp_01M7ZFEAA2N3KH726V2M2X9T9C",
    "participant_id": "never",
}
# A link is for whoever has it: its secret is the permission, and no key is asked for.
PUBLIC = {"token", "code", "file"}
# A name that a domain may give as it likes, whatever others call theirs.
OWN_NAMES = {("PUT", "/v1/attributes/{name}")}
BODIES = {
    ("PUT", "/v1/conversations/{conversation_id}/assignments"): {"assignments": []},
}
WITH_ID = [endpoint for endpoint in door.ENDPOINTS if "{" in endpoint.path]
GUARDED = [endpoint for endpoint in WITH_ID if endpoint.roles is not None or endpoint.method == "OPTIONS"]


def parameters(path):
    return re.findall(r"{(\w+)}", path)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """The deployment, the domains A and B with the ids in them, and all that was logged while they came about."""
    with deployed(tmp_path_factory.mktemp("isolation")) as deployment, logged() as log:
        a, ids_of_a = lived_in(deployment, "alpha", CANARY)
        b, ids_of_b = lived_in(deployment, "alpha-b", "plain")
        yield a, ids_of_a, b, ids_of_b, log


def test_every_parameter_of_a_path_has_an_id_to_ask_for(domains):
    _, ids, _, _, _ = domains
    for endpoint in WITH_ID:
        for name in parameters(endpoint.path):
            assert name in ids, f"{endpoint.method} {endpoint.path}: make one in `lived_in`, so that it is tested here"
            assert name in NEVER or name in PUBLIC, f"{endpoint.path}: tell in NEVER what {name} looks like"
    public = {name for endpoint in WITH_ID if endpoint not in GUARDED for name in parameters(endpoint.path)}
    assert public <= PUBLIC


def asked(community, endpoint, ids, body):
    path = endpoint.path.format_map(ids)
    answer = community.call(endpoint.method, path, body)
    return answer.status, answer.headers, answer.body


@pytest.mark.parametrize("endpoint", GUARDED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_another_domains_id_is_as_unknown_as_one_that_never_was(domains, endpoint):
    _, of_a, b, of_b, _ = domains
    names = parameters(endpoint.path)
    body = BODIES.get((endpoint.method, endpoint.path), {}) if endpoint.body is not None else None
    # At least one id is A's, the others are A's or B's own.
    for whose in itertools.product((of_a, of_b), repeat=len(names)):
        if of_a not in whose or (endpoint.method, endpoint.path) in OWN_NAMES:
            continue
        foreign = {name: ids[name] for name, ids in zip(names, whose, strict=True)}
        never = {name: NEVER[name] if ids is of_a else ids[name] for name, ids in zip(names, whose, strict=True)}
        answer = asked(b, endpoint, foreign, body)
        assert answer == asked(b, endpoint, never, body)
        assert answer[0] == (204 if endpoint.method == "OPTIONS" else 404)
        if body is not None:
            for malformed in (b"nope", b'{"unknown": 1}', b"[]"):
                assert asked(b, endpoint, foreign, malformed) == asked(b, endpoint, never, malformed)


def test_a_name_that_another_domain_uses_is_free(domains):
    a, of_a, b, _, _ = domains
    before = a.call("GET", f"/v1/attributes/{of_a['name']}").json()
    assert b.define(of_a["name"], "number").status == 201
    assert b.call("DELETE", f"/v1/attributes/{of_a['name']}").status == 204
    assert a.call("GET", f"/v1/attributes/{of_a['name']}").json() == before
    saved = b.call("POST", "/v1/exports", {**export(), "title": f"Title {CANARY}"})
    assert saved.status == 201
    assert b.call("DELETE", f"/v1/exports/{saved.json()['id']}").status == 204


def dataset(**more):
    return {**export(), "title": "Foreign", "dataset": more}


ALL_MEMBERS = ["subscribed"]
NAMED_IN_BODIES = {
    "a webhook to deliver to": ("webhook_id", "/v1/exports", lambda id_: {**export(), "title": "Foreign", "deliver": {"webhook_ids": [id_]}}),
    "a profile column": ("name", "/v1/exports", lambda id_: dataset(kind="participants", memberships=ALL_MEMBERS, columns={"profile": [id_]})),
    "a conversation": ("conversation_id", "/v1/exports", lambda id_: dataset(kind="conversation_participants", conversation_id=id_)),
    "an attribute in a segment": ("name", "/v1/segments/count", lambda id_: {"segment": {"attribute": id_, "op": "exists"}}),
    "an attribute of a saved segment": ("name", "/v1/segments", lambda id_: {"name": "s", "segment": {"attribute": id_, "op": "exists"}}),
    "an attribute of raw data": ("name", "/v1/exports", lambda id_: dataset(kind="raw", segment=None, attributes=[id_])),
    "an attribute of a row": ("name", "/v1/participants", lambda id_: {"participants": [{"participant_id": "p", "membership": "subscribed", "attributes": {id_: "x"}}]}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "path", "body"), NAMED_IN_BODIES.values(), ids=NAMED_IN_BODIES.keys())
def test_another_domains_id_in_a_body_is_refused_as_unknown(domains, name, path, body):
    _, of_a, b, of_b, _ = domains
    own = b.call("POST", path, body(of_b[name]))
    assert own.status in (200, 201, 202), "the control: its own is known"
    if path == "/v1/exports":
        assert b.call("DELETE", f"{path}/{own.json()['id']}").status == 204
    foreign, never = b.call("POST", path, body(of_a[name])), b.call("POST", path, body(NEVER[name]))
    assert foreign.status == 422
    assert foreign.json()["errors"]
    assert foreign.body.replace(of_a[name].encode(), b"#") == never.body.replace(NEVER[name].encode(), b"#")


def test_a_pid_of_another_domain_is_no_link_of_ones_own_conversation(domains):
    _, of_a, b, of_b, _ = domains
    path = f"/v1/conversations/{of_b['conversation_id']}/assignments"
    for pid, status in ((of_b["pid"], 200), (of_a["pid"], 422), (NEVER["pid"], 422)):
        answer = b.call("PUT", path, {"assignments": [{"pid": pid, "assigned_to": "somebody"}]})
        assert answer.status == status, answer.body


def test_a_saved_segment_of_another_domain_is_unknown_to_a_raw_export(domains):
    _, of_a, b, of_b, _ = domains

    def ask(segment_id, partner="alpha-b"):
        body = {
            "segment": {"segment_id": int(segment_id)},
            "attributes": ["*"],
            "format": "csv",
            "hook": "example.org/h",
        }
        headers = {"X_PARTNER_NAME": partner, "X_REQUEST_TOKEN": b.key}
        return b.deployment.call("POST", "/api/raw/v1/export", None, body, **headers)

    assert ask(of_b["segment_id"]).status == 200
    foreign, never = ask(of_a["segment_id"]), ask(NEVER["segment_id"])
    assert (foreign.status, foreign.body) == (never.status, never.body) == (422, never.body)
    assert ask(of_b["segment_id"], "alpha").status == 401
    b.deployment.drain()


def readings(community, ids):
    """Every answer that the community gets by reading, of every route that takes a GET."""
    for endpoint in door.ENDPOINTS:
        if endpoint.method == "GET":
            path = endpoint.path.format_map(ids)
            yield path, community.call("GET", path)
            if "limit" in endpoint.query:
                yield path, community.call("GET", f"{path}?limit=200")


DATASETS = [
    {"kind": "participants", "memberships": ["subscribed", "purged"], "columns": {"participation": "all"}},
    {"kind": "users", "segment": None},
    {"kind": "events", "events": ["journey_enter", "chat_invited", f"event {CANARY}"], "params": ["note", f"param {CANARY}"]},
    {"kind": "raw", "segment": None, "attributes": ["*"]},
]  # fmt: skip


def files(community, ids):
    """The files of a run of every kind of dataset, and every object of the domain in the bucket."""
    kinds = [
        *DATASETS,
        {"kind": "conversation_participants", "conversation_id": ids["conversation_id"], "include": "assigned"},
    ]
    forms = ("csv", "spss", "parquet", "ndjson")
    for kind, form in [*zip(kinds, itertools.cycle(forms), strict=False), (DATASETS[0], "spss")]:
        saved = community.save(dataset=kind, format=form, run=True)
        run = community.finished(saved["run"])
        assert run["status"] == "completed", run
        yield f"{kind['kind']} {form}", community.deployment.file(run) + str(run).encode()
    bucket = community.deployment.services.bucket
    for key, _ in bucket.keys(""):
        if f"/{community.domain}/" in key:
            body = bucket.get(key)
            yield key, key.encode() + (gzip.decompress(body) if key.endswith(".gz") else body)


def test_nothing_of_one_domain_is_seen_in_another(domains):
    a, of_a, b, of_b, _ = domains
    mark = CANARY.encode()
    own = [body for _, body in files(a, of_a)]
    assert sum(mark in body for body in own) >= 6, "the control: A's own files hold it"
    assert sum(mark in answer.body for _, answer in readings(a, of_a)) >= 8, "the control: A's own answers hold it"
    # What B asks for may hold the words of A that B wrote itself, so its files are looked at by what A reported.
    told = [f"p-{CANARY}", f"value {CANARY}", f"p@{CANARY}", f"note {CANARY}", f"conversation-{CANARY}", f"e1-{CANARY}"]
    for name, body in files(b, of_b):
        assert not [word for word in told if word.encode() in body], name
    for exported in b.call("GET", "/v1/exports?limit=200").json()["items"]:
        if CANARY in str(exported):
            b.call("DELETE", f"/v1/exports/{exported['id']}")
    for path, answer in readings(b, of_b):
        assert mark not in answer.body, path
        assert mark not in str(answer.headers).encode(), path


def test_no_line_of_the_log_tells_what_anybody_wrote_or_could_use(domains, capsys):
    a, of_a, b, of_b, log = domains
    for community, ids in ((a, of_a), (b, of_b)):
        secrets = [community.key, community.key.rpartition("_")[2], ids["token"], ids["pid"], ids["code"]]
        secrets.append(community.call("GET", "/v1/domain").json()["webhook_secret"])
        written = [CANARY, "plain", "@", "/d/", "/c/"]
        community.call("GET", f"/v1/exports/{CANARY}?cursor={CANARY}")
        community.call("POST", "/v1/participants", {"participants": [{"participant_id": CANARY}]})
        community.call("POST", "/v1/events", f'{{"{CANARY}"'.encode())
        community.deployment.call("GET", f"/d/{ids['token']}")
        community.deployment.call("GET", f"/c/{ids['code']}?pid={ids['pid']}")
        said = log.getvalue() + capsys.readouterr().out
        lines = [re.sub(r'"function_(name|arn|memory_size)":[^,}]*', "", line) for line in said.splitlines()]
        assert len(lines) > 40, "the control: something was logged, also when no test came before"
        for line in lines:
            assert not [
                word for word in (*secrets, *written) if word in line.replace("/d/{token}", "").replace("/c/{code}", "")
            ]


@pytest.mark.parametrize(
    "domain_id",
    ["../alpha", "alpha/*", "%2e%2e", "*", "?", "[a]", "{a,b}", "alpha ", "Alpha", "ALPHA", "älpha", "alpha\n", "\0", "a'b", 'a"b', "a;b", "a.b", "a_b", "-" * 41, "\u0430lpha", "ａlpha", ""],
)  # fmt: skip
def test_no_domain_has_an_id_that_could_be_read_as_something_else(domains, domain_id):
    a, *_ = domains
    with pytest.raises(ValueError, match="domain's id"):
        a.deployment.domain(domain_id)

"""Each function may do what it does, and nothing else: its policy against the calls that it was seen to make."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws

import app
from chalicelib import door
from infra.local.cloud import created
from infra.local.functions import described
from infra.local.stack import PROJECT
from infra.local.template import NO_VALUE, Scope
from infra.templates import read_template
from tests.infra.journey import SENDER, Hosted, hosted, travel
from tests.infra.permissions import Grant, Need, grants

pytestmark = pytest.mark.slow

FUNCTIONS = tuple(one.name for one in described(app.app).functions)

LOGS = "CloudWatch takes what the function prints; Lambda itself calls it in the function's role."
TRACES = "The X-Ray SDK sends segments by Lambda's daemon, in the function's role; nothing here is traced."
POLL = "Lambda's poller calls it in the function's role."
ABSENT = "Without it S3 answers 403 for an object that is not there; a listing it never asks for."
HALFWAY = "Only an upload of more than 8 MiB that fails on the way is aborted."

# What is granted though no function was seen to use it: (function or *, statement, action) and why.
UNSEEN = {
    ("*", "Log", "logs:CreateLogStream"): LOGS,
    ("*", "Log", "logs:PutLogEvents"): LOGS,
    ("*", "Trace", "xray:PutTelemetryRecords"): TRACES,
    ("*", "Trace", "xray:PutTraceSegments"): TRACES,
    ("*", "Source", "sqs:ReceiveMessage"): POLL,
    ("*", "Source", "sqs:DeleteMessage"): POLL,
    ("*", "Source", "sqs:GetQueueAttributes"): POLL,
    ("api_handler", "Absent", "s3:ListBucket"): ABSENT,
    ("work_jobs", "Absent", "s3:ListBucket"): ABSENT,
    ("*", "Files", "s3:AbortMultipartUpload"): HALFWAY,
    ("*", "Lake", "s3:AbortMultipartUpload"): HALFWAY,
    ("*", "Uploads", "s3:AbortMultipartUpload"): HALFWAY,
}

# Where the service has no resource to name.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
WITHOUT_RESOURCE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def policy(function: str) -> list[dict[str, Any]]:
    """The statements of a function's policy, as written."""
    return json.loads((PROJECT / ".chalice" / f"policy-{function}.json").read_text())["Statement"]


def scope() -> Scope:
    """What the template's names stand for in the deployment that tests make."""
    made = _made()
    template = read_template(PROJECT / "infra" / "deployment.yaml")
    logs = {f"{name}Logs.Arn": f"arn:aws:logs:::{name}" for name in _logical_names()}
    # A secret's ARN ends differently in every deployment.
    return Scope(template, {"SenderIdentity": SENDER}, {**made.ids, "MasterSecret": "*"}, {**made.attributes, **logs})


@cache
def _made() -> Scope:
    with mock_aws():
        return created(boto3.client, Scope(read_template(PROJECT / "infra" / "resources.yaml")))


def _logical_names() -> list[str]:
    return ["APIHandler", *(name.title().replace("_", "") for name in FUNCTIONS)]


def granted(function: str) -> list[Grant]:
    return grants(function, scope().resolved(policy(function)))


@contextmanager
def receiver() -> Iterator[str]:
    """A webhook receiver that takes all but what is sent to /gone and /broken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response({"/gone": 410, "/broken": 503}.get(self.path, 204))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Hosted:
    """A deployment to which everything has happened."""
    with receiver() as hook, hosted(tmp_path_factory.mktemp("journey")) as there:
        travel(there, hook)
    return there


def test_everything_that_the_service_offers_was_asked_for(travelled: Hosted) -> None:
    """An endpoint that is not called here would get its permissions by luck: call it in `journey.py`."""
    offered = {(endpoint.method, endpoint.path) for endpoint in door.ENDPOINTS}
    assert offered - travelled.reached == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_may_do_what_it_does(travelled: Hosted, function: str) -> None:
    given = granted(function)
    seen = {need for name, need in travelled.noted if name == function}
    assert seen, "it was never seen at work"
    assert {need for need in seen if not any(grant.covers(need) for grant in given)} == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_does_what_it_may(travelled: Hosted, function: str) -> None:
    """What is granted is used, or there is a reason."""
    seen = [need for name, need in travelled.noted if name == function]
    unused = {
        (grant.sid, grant.action, grant.resource, grant.prefixes)
        for grant in granted(function)
        if not any(grant.covers(need) for need in seen)
        and not {("*", grant.sid, grant.action), (function, grant.sid, grant.action)} & UNSEEN.keys()
    }
    assert unused == set()


# Rows and members that the journey does not write, and why.
UNWRITTEN = {
    ("inbox", "after", "key"): "Only an inbox of more than 5,000 files is listed in several sweeps.",
    ("idempotency/<domain>/<key>", "<hash>/<instant>/<n>", "part"): "Only an answer past 350 kB is kept in parts.",
    ("idempotency/<domain>/<key>", "<hash>/<instant>/<n>", "expires"): "Only an answer past 350 kB is kept in parts.",
    ("idempotency/<domain>/<key>", "<hash>", "parts"): "Only an answer past 350 kB is kept in parts.",
    ("imports/<domain>", "<import>", "error"): "No import of the journey fails.",
    ("run/<domain>/<run>", "run", "error"): "No run of the journey fails.",
}


def page_of_rows() -> list[tuple[str, str, set[str]]]:
    """Keys and members of each kind of row as `rows.md` names them."""
    text = (PROJECT / "chalicelib" / "base" / "rows.md").read_text()
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [(pk.strip(" `"), sk.strip(" `"), set(re.findall("`([^`]+)`", members))) for pk, sk, _, members, _ in cells]


def _as_pattern(key: str) -> re.Pattern[str]:
    parts = re.split(r"<([^>]+)>", key)
    return re.compile("".join(".+" if n % 2 and one[-1] == "*" else "[^/]+" if n % 2 else re.escape(one)
                              for n, one in enumerate(parts)))  # fmt: skip


def test_the_page_of_rows_names_all_that_is_written_and_nothing_else(travelled: Hosted) -> None:
    page = page_of_rows()
    written: dict[tuple[str, str], set[str]] = {(pk, sk): set() for pk, sk, _ in page}
    for (pk, sk), members in travelled.written.items():
        [kind] = [
            (one, other)
            for one, other, _ in page
            if _as_pattern(one).fullmatch(pk) and _as_pattern(other).fullmatch(sk)
        ] or [(pk, sk)]
        written.setdefault(kind, set()).update(members)
    named = {(pk, sk): members - {name for *key, name in UNWRITTEN if key == [pk, sk]} for pk, sk, members in page}
    assert written == named


def test_the_page_of_rows_names_files_that_there_are() -> None:
    text = (PROJECT / "chalicelib" / "base" / "rows.md").read_text()
    files = re.findall(r"\| (\w+/\w+\.py) \|$", text, re.MULTILINE)
    assert len(files) == len(page_of_rows())
    assert [name for name in files if not (PROJECT / "chalicelib" / name).exists()] == []


def test_every_reason_is_still_needed(travelled: Hosted) -> None:
    for function, sid, action in UNSEEN:
        names = FUNCTIONS if function == "*" else (function,)
        of_it = [grant for name in names for grant in granted(name) if (grant.sid, grant.action) == (sid, action)]
        assert of_it, f"nothing grants {action} in {sid}"
        used = [any(grant.covers(need) for name, need in travelled.noted if name == grant.function) for grant in of_it]
        assert not all(used), f"{action} in {sid} is used"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_policy_has_a_wildcard_where_a_name_would_do(function: str) -> None:
    for statement in policy(function):
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        for action in statement["Action"]:
            assert "*" not in action
            if statement["Resource"] == "*":
                assert action in WITHOUT_RESOURCE
    assert not [grant for grant in granted(function) if grant.resource.endswith((":*", "table/*"))]


def test_the_webhook_sender_reads_neither_the_lake_nor_files() -> None:
    """It talks to addresses that customers choose: what it could read, a customer's receiver could be sent."""
    services = {grant.action.partition(":")[0] for grant in granted("deliver")}
    assert services == {"dynamodb", "sqs", "ses", "logs", "xray"}
    others = [
        name for name in ("runs", "jobs") if any(grant.resource.endswith(f":{name}") for grant in granted("deliver"))
    ]
    assert others == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_who_reads_objects_may_list_them(function: str) -> None:
    """Without it S3 answers 403, not 404, for an object that is not there, and a lost object reads as an outage."""
    given, bucket = granted(function), f"{scope().ids['Bucket']}/"
    for read in [grant for grant in given if grant.action in ("s3:GetObject", "s3:GetObjectVersion")]:
        prefix = read.resource.partition(bucket)[2]
        assert any(one.action == "s3:ListBucket" and prefix in one.prefixes for one in given), prefix


def test_every_policy_file_is_some_functions() -> None:
    files = {path.stem.removeprefix("policy-") for path in (PROJECT / ".chalice").glob("policy-*.json")}
    assert files == set(FUNCTIONS)


def test_a_grant_covers_its_action_on_its_resource_under_its_prefix_only() -> None:
    grant = Grant("f", "List", "s3:ListBucket", "arn:aws:s3:::b", ("lake/*",))
    assert grant.covers(Need("s3:ListBucket", "arn:aws:s3:::b", "lake/demo/"))
    assert not grant.covers(Need("s3:ListBucket", "arn:aws:s3:::b", "exports/"))
    assert not grant.covers(Need("s3:ListBucket", "arn:aws:s3:::b"))
    assert not grant.covers(Need("s3:ListBucketVersions", "arn:aws:s3:::b", "lake/"))
    objects = Grant("f", "Lake", "s3:GetObject", "arn:aws:s3:::b/lake/*")
    assert objects.covers(Need("s3:GetObject", "arn:aws:s3:::b/lake/demo/x"))
    assert not objects.covers(Need("s3:GetObject", "arn:aws:s3:::b/exports/x"))


def test_nothing_is_resolved_to_nothing() -> None:
    """A statement that an intrinsic function removes would be one that no test sees."""
    for function in FUNCTIONS:
        assert NO_VALUE not in scope().resolved(policy(function))

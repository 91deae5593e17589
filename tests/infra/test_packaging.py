"""What `make package` makes runs as it is: unpacked alone, it does the main job; what would not run is refused."""

import csv
import hashlib
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud import CREDENTIALS, Cloud, created, ready, server_process
from infra.local.template import Scope
from infra.packaging import archive, checks, wheels
from infra.packaging.__main__ import PROJECT, TRANSLATOR, VENDOR, held, package, stage
from infra.packaging.template import copy_sources, functions
from infra.packaging.wheels import Incomplete, Pin
from infra.scripts import OFFLINE
from infra.templates import read_template
from tests.infra.unpacked import Unpacked, function, message, recorded, request

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Package:
    """The package of this tree: the clone it was made of, where its three files are, and its zip unpacked."""

    clone: Path
    folder: Path
    unpacked: Path
    measured: dict[str, str]

    def handlers(self) -> dict[str, list[str]]:
        """The kinds of event source of each handler."""
        found = [one["Properties"] for _, one in functions(read_template(self.folder / "sam.yaml"))]
        return {one["Handler"]: [event["Type"] for event in one.get("Events", {}).values()] for one in found}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package, made once."""
    clone, output = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("package")
    copy_sources(PROJECT, clone)
    for name in ("infra/resources.yaml", "infra/deployment.yaml", "pyproject.toml", "uv.lock", ".python-version"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT / name, clone / name)
    try:
        measured = package(clone, VENDOR, output)
    except Incomplete as fault:
        if OFFLINE.search(str(fault)):
            pytest.skip("the package registry cannot be reached, and the wheels are not there yet")
        raise
    unpacked = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(output / "deployment.zip") as zipped:
        zipped.extractall(unpacked)
    return Package(clone, output, unpacked, measured)


@dataclass
class Account:
    """An AWS account with the state's resources in it, and the package's functions running against it."""

    cloud: Cloud
    scope: Scope
    package: Package
    logs: Path
    environment: dict[str, str]
    running: dict[str, Unpacked] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __call__(self, handler: str, event: Any) -> Any:
        if handler not in self.running:
            log = self.logs / f"{handler}.log"
            started = function(self.package.unpacked, handler, self.environment, log)
            self.running[handler] = self.stack.enter_context(started)
        return self.running[handler](event)

    def api(self, method: str, path: str, template: str, key: str, body: Any = None, **parameters: str) -> Any:
        """The JSON that a request is answered with, once the authorizer has let it in."""
        event = request(method, path, template, key, body, **parameters)
        token = recorded("token") | {"authorizationToken": f"Bearer {key}"}
        event["requestContext"]["authorizer"] = self("app.authorize", token)["context"]
        answer = self("app.app", event)
        assert answer["statusCode"] < 300, answer
        return json.loads(answer["body"] or "null")

    def messages(self, queue: str) -> list[str]:
        """The bodies of the messages that wait in a queue; they are gone then."""
        sqs, url, found = self.cloud.client("sqs"), self.scope.ids[queue], []
        while taken := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for one in taken:
                found.append(one["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return found


@pytest.fixture(scope="module")
def account(built: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """The package deployed, as far as it goes on one machine."""
    folder = tmp_path_factory.mktemp("account")
    with ExitStack() as closing:
        cloud = ready(closing.enter_context(server_process(folder / "aws.log")))
        scope = created(cloud.client, Scope(read_template(PROJECT / "infra" / "resources.yaml")))
        environment = {
            **CREDENTIALS,
            **scope.variables(),
            "AWS_ENDPOINT_URL": cloud.endpoint,
            "PANELPORT_BASE_URL": "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/api",
            "PANELPORT_LOCAL": "1",
            "PANELPORT_SCRATCH": str(folder / "scratch"),
            "PYTHONTZPATH": "",
            "POWERTOOLS_TRACE_DISABLED": "true",
        }
        yield Account(cloud, scope, built, folder, environment, stack=closing)


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook receiver on loopback: its URL, and what it got."""
    got: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        server.server_close()


def first_key(account: Account, domain: str) -> str:
    """The key that the operator's command prints."""
    command = [sys.executable, "-m", "infra.operator", "make-domain", domain]
    given = {"PATH": os.environ["PATH"], **account.environment}
    done = subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "spss", "parquet", "ndjson"])
def test_the_unpacked_zip_alone_does_the_main_job(account: Account, form: str) -> None:
    """From an accepted batch to a file and its announcement, in interpreters that see only the zip."""
    key = first_key(account, f"the-{form}")
    people = [{"participant_id": f"p{n}", "membership": "subscribed", "email": f"p{n}@example.org"} for n in range(3)]
    account.api("POST", "/v1/participants", "/v1/participants", key, {"participants": people})
    events = [
        {"event_id": f"e{n}", "participant_id": f"p{n}", "name": "chat_invited", "occurred_at": "2026-11-01T00:00:00Z",
         "params": {"conversation_id": "c1"}}
        for n in range(2)
    ]  # fmt: skip
    account.api("POST", "/v1/events", "/v1/events", key, {"events": events})
    with receiver() as (url, got):
        columns = {"system": "all", "profile": "all", "participation": "all"}
        dataset = {"kind": "participants", "memberships": ["subscribed"], "columns": columns}
        asked = {
            "title": f"In {form}",
            "dataset": dataset,
            "format": form,
            "run": True,
            "deliver": {"webhook_url": url},
        }
        run = account.api("POST", "/v1/exports", "/v1/exports", key, asked)["run"]
        for body in account.messages("RunsQueue"):
            account("app.run_export", message(body))
        for body in account.messages("DeliveriesQueue"):
            account("app.deliver", message(body))
    ended = account.api("GET", f"/v1/runs/{run['id']}", "/v1/runs/{run_id}", key, run_id=run["id"])
    assert (ended["status"], ended["file"]["rows"]) == ("completed", 3), ended
    assert [said["data"]["run"]["id"] for said in got] == [run["id"]]
    file = stored(account, run["id"])
    assert hashlib.sha256(file).hexdigest() == ended["file"]["sha256"]
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(file.decode("utf-8-sig"))))
        assert [row["ChatsInvited"] for row in rows] == ["1", "1", "0"]


def stored(account: Account, run_id: str) -> bytes:
    """The bytes of a run's file."""
    s3, bucket = account.cloud.client("s3"), account.scope.ids["Bucket"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="exports/")["Contents"]
    [found] = [one["Key"] for one in listed if run_id in one["Key"] and not one["Key"].endswith("codebook.json")]
    return s3.get_object(Bucket=bucket, Key=found)["Body"].read()


@pytest.mark.slow
def test_every_function_of_the_package_answers_its_event(account: Account) -> None:
    """Each handler of the template comes up from the zip and takes an event of its source."""
    strange = {"domain": "nobody", "run_id": "run_x", "endpoint_id": "once", "delivery_id": "dlv_x", "job": "compact"}
    for handler, sources in account.package.handlers().items():
        if handler == "app.app":
            answer = account(handler, request("GET", "/healthz", "/healthz"))
            assert answer["statusCode"] == 200
        elif handler == "app.authorize":
            with pytest.raises(RuntimeError, match=r"^Exception: Unauthorized$"):
                account(handler, recorded("token"))
        else:
            event = recorded("minute") if sources == ["Schedule"] else message(strange)
            assert account(handler, event) is None


@pytest.mark.slow
def test_what_is_not_deployed_is_not_in_the_zip(built: Package) -> None:
    """Neither tests nor infrastructure, neither command lines nor sources of extensions."""
    with zipfile.ZipFile(built.folder / "deployment.zip") as zipped:
        names = zipped.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"infra", "tests", ".chalice", "pip", "setuptools", "moto", "bin", "requirements.txt"}
    assert not tops & {"pyspssio", "pyarrow", "pyspark", "werkzeug"}
    assert not [name for name in names if name.endswith((".pyi", ".pyx", ".h", ".a", ".c"))]
    assert not [name for name in names if "/tests/" in name]
    assert {"app.py", "chalice/app.py", "tzdata/zoneinfo/America/Vancouver"} <= set(names)
    services = {name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 2}
    assert services == {"dynamodb", "s3", "scheduler", "secretsmanager", "sesv2", "sqs"}


@pytest.mark.slow
def test_all_of_ours_and_theirs_is_compiled_without_a_machines_path(built: Package) -> None:
    """Lambda's disk is read-only: what is not compiled in the zip is compiled at each cold start."""
    from importlib.util import cache_from_source

    here = [str(PROJECT).encode(), str(built.folder).encode(), str(Path.home()).encode() + b"/"]
    for source in [built.unpacked / "app.py", *(built.unpacked / "chalicelib").rglob("*.py")]:
        compiled = Path(cache_from_source(str(source))).read_bytes()
        # Bit 0: checked against a hash, bit 1: by looking at the source each time.
        assert int.from_bytes(compiled[4:8], "little") == 0b01
        assert b"/var/task/" in compiled
        assert not any(path in compiled for path in here)
    for top in ("pydantic", "botocore", "pandas", "numpy"):
        assert list((built.unpacked / top / "__pycache__").glob("__init__.*.pyc"))


@pytest.mark.slow
def test_the_same_sources_make_the_same_zip(built: Package, tmp_path: Path) -> None:
    """Wherever the work tree lies, whatever its files' times, whatever bytecode lies about."""
    clone = tmp_path / "elsewhere"
    copy_sources(built.clone, clone)
    (clone / "chalicelib" / "__pycache__").mkdir()
    (clone / "chalicelib" / "__pycache__" / "old.pyc").write_bytes(b"stale")
    os.utime(clone / "app.py", (0, 0))
    with held(VENDOR):
        stage(clone, VENDOR, tmp_path / "unpacked")
    archive.write(tmp_path / "unpacked", tmp_path / "second.zip")
    second = hashlib.sha256((tmp_path / "second.zip").read_bytes()).hexdigest()
    assert second == built.measured["sha256"]
    with zipfile.ZipFile(tmp_path / "second.zip") as theirs:
        assert {one.date_time for one in theirs.infolist()} == {archive.EPOCH}
        assert theirs.namelist() == sorted(theirs.namelist())


@pytest.mark.slow
def test_bytecode_follows_from_the_source_alone(tmp_path: Path) -> None:
    """Sets as constants, other folders, other hash seeds: the same bytes."""
    compiled = []
    for name in ("one", "a/longer/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.py").write_text("def f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}, __file__\n")
        shutil.copytree(PROJECT / "chalicelib" / "datasets", tmp_path / name / "b")
        archive.precompile(tmp_path / name)
        found = sorted((tmp_path / name).rglob("*.pyc"))
        compiled.append([(path.name, path.read_bytes()) for path in found])
    assert len(compiled[0]) > 5
    assert compiled[0] == compiled[1]


@pytest.mark.slow
def test_the_package_fits_lambda(built: Package) -> None:
    assert checks.of_size(archive.size(built.unpacked)) == []


def test_a_package_past_240_mib_is_refused() -> None:
    assert checks.of_size(240 * 2**20) == []
    assert checks.of_size(240 * 2**20 + 1) == ["240.0 MiB unzipped pass 240 MiB"]


def test_what_only_judges_is_not_among_the_functions_dependencies() -> None:
    """IBM's library is IBM's; pyarrow and Spark are larger than all that Lambda takes."""
    needed = {pin.name for pin in wheels.pins(PROJECT)}
    assert {"duckdb", "pyreadstat", "chalice"} <= needed
    assert not needed & {"pyspssio", "pyarrow", "pyspark", "moto", "werkzeug", "pytest"}


def test_a_script_with_an_environment_of_its_own_has_a_lock_of_its_own() -> None:
    scripts = [path for part in ("infra", "tests") for path in (PROJECT / part).rglob("*.py")
               if path.read_text().startswith("# /// script")]  # fmt: skip
    assert TRANSLATOR in scripts
    for script in scripts:
        pinned = script.with_name(f"{script.name}.lock").read_text()
        assert pinned.count("[[package]]") > 1, script


def test_a_wheel_that_is_not_there_in_its_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "typing_extensions-4.16.0.dist-info").mkdir()
    (tmp_path / "numpy-2.5.4.dist-info").mkdir()
    wanted = [Pin("typing-extensions", "4.16.0", ""), Pin("numpy", "2.5.5", ""), Pin("duckdb", "2.0.0", "")]
    assert wheels.missing(wanted, tmp_path) == ["duckdb 2.0.0", "numpy 2.5.5"]


def test_what_judges_in_tests_alone_is_not_among_what_functions_need() -> None:
    """Least of all IBM's library, whose licence does not let us hand it on."""
    names = {pin.name for pin in wheels.pins(PROJECT)}
    assert {"pyreadstat", "duckdb"} <= names
    assert not names & {"pyspssio", "psutil", "pyarrow", "pyspark", "moto"}


def test_pins_are_read_with_their_hashes_and_without_windows() -> None:
    text = """# made by uv
annotated-types==0.8.0 \\
    --hash=sha256:aa
    # via pydantic
ansicon==1.89.0 ; sys_platform == 'win32' \\
    --hash=sha256:bb
Typing_Extensions==4.16.0 \\
    --hash=sha256:cc \\
    --hash=sha256:dd
"""
    found = wheels.parsed(text)
    assert [(pin.name, pin.version) for pin in found] == [("annotated-types", "0.8.0"), ("typing-extensions", "4.16.0")]
    assert found[1].requirement.endswith("--hash=sha256:dd")


def project(tmp_path: Path, app: str, **modules: str) -> Path:
    """An unpacked package of these sources."""
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "app.py").write_text(app)
    for name, text in {"__init__": "", **modules}.items():
        (tmp_path / "chalicelib" / f"{name}.py").write_text(text)
    return tmp_path


def test_a_handler_that_lies_outside_of_app_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path, "def fine(event, context): ...\n", workers="def jobs(event, context): ...\n")
    assert checks.of_imports(folder, ["app.fine"]) == []
    assert checks.of_imports(folder, ["chalicelib.workers.jobs"]) == ["chalicelib.workers.jobs comes without app"]
    assert "app.gone does not import" in checks.of_imports(folder, ["app.gone"])[0]


def test_a_module_that_is_imported_only_when_needed_must_be_there_too(tmp_path: Path) -> None:
    """What this environment has, and the package has not, does not count."""
    folder = project(tmp_path, "def fine(event, context):\n    import duckdb\n")
    assert checks.of_imports(folder, ["app.fine"]) == [
        "duckdb does not import: ModuleNotFoundError: No module named 'duckdb'"
    ]


def test_what_no_function_reads_is_taken_out(tmp_path: Path) -> None:
    dropped = (
        "numpy/tests/a.py",
        "numpy/a.pyi",
        "x.dist-info/RECORD",
        "botocore/data/ec2/1/s.json",
        "chalice/cli/a.py",
    )
    kept = ("numpy/testing/a.py", "x.dist-info/licenses/LICENSE", "botocore/data/sqs/1/s.json", "chalice/app.py",
            "botocore/data/endpoints.json")  # fmt: skip
    for name in (*dropped, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    wheels.trim(tmp_path, frozenset({"sqs"}))
    assert [name for name in dropped if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_code_without_a_client_is_not_trimmed_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("boto3.client('s3')")
    with pytest.raises(Incomplete):
        wheels.services_used([tmp_path / "a.py"])
    (tmp_path / "a.py").write_text('boto3.client("s3")\nboto3.resource("dynamodb", config=CONFIG)')
    assert wheels.services_used([tmp_path / "a.py"]) == {"s3", "dynamodb"}

"""The template says what AWS is to make: what the app needs, what the local stack has, and what must never be missing."""

import copy
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

import app
from chalicelib.base.settings import settings_from
from infra.local.functions import described
from infra.local.stack import PROJECT
from infra.local.template import Scope
from infra.packaging import checks
from infra.packaging.__main__ import TRANSLATOR, translate, write
from infra.packaging.template import PARTS, completed, copy_sources, functions, merged, queues, sam, source
from infra.packaging.wheels import Incomplete
from infra.scripts import OFFLINE, run
from infra.templates import read_template

pytestmark = pytest.mark.slow

Template = dict[str, Any]


@pytest.fixture(scope="module")
def template() -> Template:
    """The SAM template of this tree."""
    return sam(PROJECT)


def resources(template: Template, kind: str) -> dict[str, Any]:
    """The properties of the resources of a type."""
    return {name: one["Properties"] for name, one in template["Resources"].items() if one["Type"] == kind}


def by_handler(template: Template) -> dict[str, Any]:
    """The properties of each function, by its handler's name in app.py."""
    return {one["Properties"]["Handler"].rpartition(".")[2]: one["Properties"] for _, one in functions(template)}


def test_every_function_of_the_app_is_deployed_with_the_limits_that_the_local_stack_gives_it(
    template: Template,
) -> None:
    deployed = {one["Handler"]: (one["Timeout"], one["MemorySize"]) for one in by_handler(template).values()}
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    assert deployed == {one.handler: (one.timeout, one.memory) for one in described(app.app, config).functions}


def test_the_local_stack_has_the_resources_of_the_template(template: Template) -> None:
    """To the letter: what is tested here is what is made there."""
    state = read_template(PROJECT / PARTS[0])["Resources"]
    assert {name: template["Resources"][name] for name in state} == state


def test_every_function_gets_an_environment_that_its_settings_take(template: Template) -> None:
    given = {"CodeBucket": "b", "CodeKey": "k", "Sender": "noreply@example.org", "Origins": "https://a.example"}
    names = list(template["Resources"])
    scope = Scope(template, given, {name: name for name in names}, {f"{name}.Arn": f"arn:{name}" for name in names})
    shared = template["Globals"]["Function"]["Environment"]["Variables"]
    for properties in by_handler(template).values():
        own = properties.get("Environment", {}).get("Variables", {})
        settings = settings_from({name: str(value) for name, value in scope.resolved({**shared, **own}).items()})
        assert (settings.origins, settings.sender) == (("https://a.example",), "noreply@example.org")
        assert settings.runs_queue_arn == "arn:RunsQueue"
        assert not settings.local
        # DuckDB's share leaves room for Python, numpy and the file on its way.
        assert float(settings.memory_limit.removesuffix("GB")) * 1000 < properties["MemorySize"] or not own


def test_zone_rules_are_those_of_the_package(template: Template) -> None:
    assert template["Globals"]["Function"]["Environment"]["Variables"]["PYTHONTZPATH"] == ""


@pytest.mark.parametrize(
    ("function", "timeout", "disk", "concurrency"),
    [
        ("run_export", 900, 10240, 20),
        ("work_jobs", 900, 10240, 10),
        ("deliver", 60, None, 50),
        ("sweep", 60, None, None),
        ("app", 29, 2048, None),
        ("authorize", 10, None, None),
    ],
)
def test_each_function_has_the_size_of_its_work(
    template: Template, function: str, timeout: int, disk: int | None, concurrency: int | None
) -> None:
    one = by_handler(template)[function]
    assert one["Timeout"] == timeout
    assert one.get("EphemeralStorage", {}).get("Size") == disk
    scaling = [event["Properties"].get("ScalingConfig", {}) for event in one.get("Events", {}).values()]
    assert [found["MaximumConcurrency"] for found in scaling if found] == ([concurrency] if concurrency else [])


def test_a_chain_of_runs_is_not_cut_as_a_loop(template: Template) -> None:
    """Who ends a run sends the next, through the queue that invokes it: the only function that does so without end."""
    allowed = {name for name, one in by_handler(template).items() if one.get("RecursiveLoop") == "Allow"}
    assert allowed == {"run_export"}


def test_a_queue_outlasts_its_function_six_times_and_gives_up_to_a_dead_letter_queue(template: Template) -> None:
    read = {source(one): one["Properties"]["Timeout"] for _, one in functions(template) if source(one)}
    assert set(read) == {name for name, _ in queues(template)} == {"RunsQueue", "DeliveriesQueue", "JobsQueue"}
    for queue, timeout in read.items():
        assert template["Resources"][queue]["Properties"]["VisibilityTimeout"] >= 6 * timeout
    for event in (event for one in by_handler(template).values() for event in one.get("Events", {}).values()):
        if event["Type"] == "SQS":
            assert event["Properties"]["BatchSize"] == 1


def test_the_template_has_no_fault_that_is_looked_for(template: Template) -> None:
    assert checks.of_template(template) == []


def planted(template: Template, *path: Any, value: Any) -> Template:
    """The template with one value changed."""
    changed = copy.deepcopy(template)
    place = changed["Resources"]
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def test_each_fault_is_found(template: Template) -> None:
    role = by_handler(template)["sweep"]["Role"]
    statement = ("SweepRole", "Properties", "Policies", 0, "PolicyDocument", "Statement")
    for path, value, said in (
        (("RunsQueue", "Properties", "VisibilityTimeout"), 5399, "RunsQueue hides a message for 5399 s"),
        (("JobsQueue", "Properties", "RedrivePolicy"), None, "JobsQueue has no dead letter queue"),
        (("JobsQueue", "Properties", "SqsManagedSseEnabled"), False, "JobsQueue is not encrypted"),
        (("JobsQueue",), None, "WorkJobs reads JobsQueue, which is not in the template"),
        (("Deliver", "Properties", "Role"), role, "has the role of"),
        ((*statement,), [], "Sweep has no policy"),
        ((*statement, 0, "Action"), ["dynamodb:*"], "Sweep may dynamodb:*"),
    ):
        assert any(said in fault for fault in checks.of_template(planted(template, *path, value=value))), said


def test_a_change_of_a_function_that_is_gone_is_refused(template: Template) -> None:
    with pytest.raises(Incomplete, match="Gone"):
        completed(planted(template, "Gone", value={"Properties": {"EphemeralStorage": {"Size": 512}}}))


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    copy_sources(PROJECT, tmp_path)
    shutil.copytree(PROJECT / "infra", tmp_path / "infra", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (tmp_path / ".chalice" / "policy-deliver.json").unlink()
    with pytest.raises(Incomplete, match=r"policy-deliver\.json"):
        sam(tmp_path)


def test_parts_merge_member_by_member() -> None:
    assert merged([{"a": {"b": 1, "c": [1]}}, {"a": {"c": [2], "d": {"e": 3}}}]) == {
        "a": {"b": 1, "c": [2], "d": {"e": 3}}
    }


def test_there_is_one_regional_stage_that_is_throttled(template: Template) -> None:
    api = template["Resources"]["RestAPI"]["Properties"]
    # Without the version SAM makes a second public stage, which no throttle bounds.
    assert (api["OpenApiVersion"], api["StageName"], api["EndpointConfiguration"]) == (
        "2.0",
        "api",
        {"Type": "REGIONAL"},
    )
    [bound] = api["MethodSettings"]
    assert (bound["ResourcePath"], bound["HttpMethod"]) == ("/*", "*")
    assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= bound.keys()


def test_bodies_reach_the_api_as_text(template: Template) -> None:
    """In base64 a body of 5 MB would pass Lambda's 6 MB."""
    api = template["Resources"]["RestAPI"]["Properties"]
    assert "BinaryMediaTypes" not in api
    assert "x-amazon-apigateway-binary-media-types" not in api["DefinitionBody"]


def test_the_gateways_own_refusals_are_problem_documents_that_a_page_can_read(template: Template) -> None:
    responses = template["Resources"]["RestAPI"]["Properties"]["GatewayResponses"]
    assert {"UNAUTHORIZED", "ACCESS_DENIED", "REQUEST_TOO_LARGE", "THROTTLED", "DEFAULT_5XX"} <= responses.keys()
    for kind, one in responses.items():
        headers = one["ResponseParameters"]["Headers"]
        assert headers["Content-Type"] == "'application/problem+json'"
        assert headers["Access-Control-Allow-Origin"] == "'*'"
        # A quote within would end the value.
        assert all(re.fullmatch(r"'[^']*'", value) for value in headers.values())
        said = json.loads(one["ResponseTemplates"]["application/json"])
        assert {"type", "title", "status", "detail"} <= said.keys()
        assert kind == "DEFAULT_5XX" or said["status"] == one["StatusCode"]


def test_every_route_of_the_app_is_in_the_api_behind_its_authorizer(template: Template) -> None:
    paths = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    for path, methods in app.app.routes.items():
        for method, entry in methods.items():
            described_there = paths[path][method.lower()]
            assert ("security" in described_there) == (entry.authorizer is not None), (method, path)


def test_nothing_is_public_plain_or_kept_for_ever(template: Template) -> None:
    [bucket] = resources(template, "AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["exports"] == {
        "Id": "exports", "Status": "Enabled", "Prefix": "exports/", "ExpirationInDays": {"Ref": "ExportDays"},
    }  # fmt: skip
    assert rules["parts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert rules["versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    [policy] = resources(template, "AWS::S3::BucketPolicy").values()
    tls, fresh = policy["PolicyDocument"]["Statement"]
    assert (tls["Effect"], tls["Action"], tls["Principal"]) == ("Deny", "s3:*", "*")
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (fresh["Effect"], fresh["Action"]) == ("Deny", "s3:GetObject")
    assert fresh["Condition"]["NumericGreaterThan"] == {"s3:signatureAge": 3900000}
    [table] = resources(template, "AWS::DynamoDB::Table").values()
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    logs = resources(template, "AWS::Logs::LogGroup")
    assert len(logs) == len(by_handler(template))
    assert all(one["RetentionInDays"] == {"Ref": "LogRetentionDays"} for one in logs.values())


def test_what_holds_state_outlives_the_stack(template: Template) -> None:
    for name in ("Table", "Bucket", "MasterSecret"):
        one = template["Resources"][name]
        assert (one["DeletionPolicy"], one["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_every_alarm_tells_somebody_and_is_explained(template: Template) -> None:
    """The runbook says of each what it means; functions and queues have the same ones each."""
    runbook = (PROJECT / "infra" / "README.md").read_text()
    each = {f"{name}{kind}": f"<Function>{kind}" for name, _ in functions(template) for kind in ("Errors", "Throttles")}
    each |= {f"{name}Waiting": "<Queue>Waiting" for name, _ in queues(template)}
    alarms = resources(template, "AWS::CloudWatch::Alarm")
    assert set(each) <= alarms.keys()
    for name, one in alarms.items():
        assert one["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        shown = each.get(name) or ("<Queue>DeadLettersNotEmpty" if name.endswith("DeadLettersNotEmpty") else name)
        assert f"`{shown}`" in runbook, shown


def test_the_dashboard_shows_every_function_and_queue(template: Template) -> None:
    [board] = resources(template, "AWS::CloudWatch::Dashboard").values()
    text = board["DashboardBody"]["Fn::Sub"]
    shown = json.dumps(json.loads(text))
    for name, _ in functions(template):
        assert "${" + name + "}" in shown
    for name, _ in queues(template):
        assert "${" + name + ".QueueName}" in shown
    assert all(
        name.partition(".")[0] in template["Resources"] or "::" in name for name in re.findall(r"\$\{(.+?)\}", text)
    )


def test_every_parameter_is_used_and_explained(template: Template) -> None:
    whole = json.dumps({name: part for name, part in template.items() if name != "Parameters"})
    runbook = (PROJECT / "infra" / "README.md").read_text()
    for name in template["Parameters"]:
        assert f'{{"Ref": "{name}"}}' in whole or "${" + name + "}" in whole, name
        assert f"`{name}`" in runbook, name


@pytest.fixture(scope="module")
def translated(template: Template, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The template and its CloudFormation translation, as files."""
    folder = tmp_path_factory.mktemp("templates")
    write(template, folder / "sam.yaml")
    try:
        translate(folder / "sam.yaml", folder / "template.yaml")
    except Incomplete as fault:
        if OFFLINE.search(str(fault)):
            pytest.skip("the package registry cannot be reached, and the translator is not there yet")
        raise
    return folder / "sam.yaml", folder / "template.yaml"


@pytest.mark.slow
def test_cfn_lint_finds_nothing_in_either_template(translated: tuple[Path, Path]) -> None:
    done = run(TRANSLATOR, "lint", *map(str, translated))
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


# What moto can make of a template; it knows no API Gateway bodies, alarms, dashboards or schedule groups.
MADE = ("AWS::DynamoDB::", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::IAM::Role", "AWS::Lambda::Function",
        "AWS::Logs::LogGroup", "AWS::SecretsManager::Secret", "AWS::SNS::Topic")  # fmt: skip


@pytest.mark.slow
def test_the_translation_is_made_as_far_as_moto_can(translated: tuple[Path, Path]) -> None:
    """CloudFormation's own resolution of every reference, down to each function's environment and role."""
    made = yaml.safe_load(translated[1].read_text())
    assert [name for name, one in made["Resources"].items() if one["Type"] == "AWS::ApiGateway::Stage"] == [
        "RestAPIapiStage"
    ]
    kept = {name: one for name, one in made["Resources"].items() if one["Type"].startswith(MADE)}
    made = {**made, "Outputs": {}, "Resources": without_rest(kept, made["Resources"].keys() - kept.keys())}
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="code")
        s3.put_object(Bucket="code", Key="1.zip", Body=empty_zip())
        formation = boto3.client("cloudformation", region_name="us-east-1")
        parameters = {"CodeBucket": "code", "CodeKey": "1.zip", "BaseUrl": "https://panelport.example"}
        formation.create_stack(
            StackName="panelport",
            TemplateBody=json.dumps(made),
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
        assert formation.describe_stacks(StackName="panelport")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"
        found = boto3.client("lambda", region_name="us-east-1").list_functions()["Functions"]
        assert {one["Handler"] for one in found} == {one.handler for one in described(app.app).functions}
        tables = boto3.client("dynamodb", region_name="us-east-1").list_tables()["TableNames"]
        for one in found:
            assert [one["Environment"]["Variables"]["TABLE"]] == tables
            assert one["Environment"]["Variables"]["PANELPORT_BASE_URL"] == "https://panelport.example"
        sqs = boto3.client("sqs", region_name="us-east-1")
        dead = [
            len(sqs.list_dead_letter_source_queues(QueueUrl=url)["queueUrls"]) for url in sqs.list_queues()["QueueUrls"]
        ]
        assert sorted(dead) == [0, 0, 0, 1, 1, 1]


def without_rest(kept: Any, gone: Any) -> Any:
    """The resources with a name in the place of every reference to what is not made."""
    if isinstance(kept, dict):
        if list(kept) in (["Ref"], ["Fn::GetAtt"]):
            name = kept.get("Ref") or kept["Fn::GetAtt"][0]
            return f"not-made-{name}" if name in gone else kept
        if list(kept) == ["Fn::Sub"]:
            return {
                "Fn::Sub": re.sub(
                    r"\$\{(\w+)[^}]*\}", lambda found: "x" if found[1] in gone else found[0], kept["Fn::Sub"]
                )
            }
        return {
            name: without_rest(one, gone)
            for name, one in kept.items()
            if name not in ("DependsOn", "Condition") or (name == "Condition" and not isinstance(one, str))
        }
    return [without_rest(one, gone) for one in kept] if isinstance(kept, list) else kept


def empty_zip() -> bytes:
    """A zip of nothing."""
    written = io.BytesIO()
    zipfile.ZipFile(written, "w").close()
    return written.getvalue()

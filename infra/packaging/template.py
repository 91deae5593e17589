"""The SAM template: what `chalice package` makes of the app, merged with ours, and what follows for each function."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.packaging.wheels import Incomplete
from infra.responses import template_responses
from infra.templates import read_template

Template = dict[str, Any]

STAGE = "api"
API = "RestAPI"
SOURCES = ("app.py", "chalicelib", ".chalice")
# State first; then what surrounds it in an AWS account, which the local stack has no use for.
PARTS = ("infra/resources.yaml", "infra/deployment.yaml")

FUNCTION = "AWS::Serverless::Function"
QUEUE = "AWS::SQS::Queue"

# Gateway responses carry one fixed value, the configured origins may be several. They are the gateway's own refusals:
# the same for everyone, with nothing of the caller's in them, and no cookie ever counts.
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate"}


def copy_sources(project: Path, target: Path) -> None:
    """Copy what is deployed of the project into a folder: no bytecode, no deployment records."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "deployments", "deployed", ".*.swp")
    target.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        if (project / name).is_dir():
            shutil.copytree(project / name, target / name, ignore=ignore)
        else:
            shutil.copy(project / name, target / name)


def sam(project: Path) -> Template:
    """The project's whole SAM template; Incomplete when Chalice or the merged parts do not agree."""
    with tempfile.TemporaryDirectory(prefix="panelport-template-") as name:
        folder = Path(name)
        copy_sources(project, folder / "project")
        (folder / "project" / "requirements.txt").touch()
        parts = merged(read_template(project / part) for part in PARTS)
        (folder / "merge.json").write_text(json.dumps(parts))
        made = _packaged(folder)
    return completed(made)


def _packaged(folder: Path) -> Template:
    command = [sys.executable, "-c", "import sys; from chalice.cli import main; sys.exit(main())"]
    options = ["--project-dir", str(folder / "project"), "package", "--stage", STAGE]
    options += ["--merge-template", str(folder / "merge.json"), str(folder / "out")]
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Incomplete(f"chalice package failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    made: Template = json.loads((folder / "out" / "sam.json").read_text())
    return made


def merged(parts: Iterable[Template]) -> Template:
    """The parts as one: mappings member by member, anything else from the later one."""
    result: Template = {}
    for part in parts:
        result = _over(result, part)
    return result


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {name: _over(below.get(name, {}), above[name]) if name in above else below[name] for name in below | above}


def completed(template: Template) -> Template:
    """The template with what is alike for all functions and queues, however many there are."""
    strays = [name for name, one in template["Resources"].items() if "Type" not in one]
    if strays:
        raise Incomplete(f"{' and '.join(PARTS)} change functions that the app does not have: {', '.join(strays)}")
    resources: dict[str, Any] = {name: dict(one) for name, one in template["Resources"].items()}
    for name, one in functions(template):
        resources[name] = _function(name, one)
        resources |= _watched_function(name)
    for name, one in queues(template):
        resources |= _watched_queue(name, one)
    resources[API] = _api(resources[API])
    resources["Dashboard"] = _dashboard(template)
    return {**template, "Resources": resources}


def functions(template: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The functions, by their names in the template."""
    return ((name, one) for name, one in template["Resources"].items() if one.get("Type") == FUNCTION)


def queues(template: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The queues that have a dead letter queue, by their names in the template."""
    found = ((name, one) for name, one in template["Resources"].items() if one.get("Type") == QUEUE)
    return ((name, one) for name, one in found if "RedrivePolicy" in one["Properties"])


def source(function: Mapping[str, Any]) -> str | None:
    """The queue, by its name in the template, whose messages invoke a function."""
    for event in function["Properties"].get("Events", {}).values():
        if event["Type"] == "SQS":
            return re.sub(r"\W", "", _text(event["Properties"]["Queue"]).removesuffix(".Arn}"))
    return None


def _text(value: Any) -> str:
    return str(next(iter(value.values()))) if isinstance(value, dict) else str(value)


def _function(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    properties = {
        **one["Properties"],
        "CodeUri": {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}},
        "LoggingConfig": {"LogGroup": {"Ref": f"{name}Logs"}},
    }
    events = {}
    for key, event in properties.get("Events", {}).items():
        if event["Type"] == "SQS":
            # Chalice names a queue of the account; ours has a name that CloudFormation makes.
            queue = _text(event["Properties"]["Queue"]).rpartition(":")[2]
            logical = queue.replace("-", " ").replace("_", " ").title().replace(" ", "") + "Queue"
            event = {**event, "Properties": {**event["Properties"], "Queue": {"Fn::Sub": "${" + logical + ".Arn}"}}}
        if event["Type"] == "Schedule":
            # What a failed minute left undone the next one does.
            properties["EventInvokeConfig"] = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
        events[key] = event
    return {**one, "Properties": {**properties, **({"Events": events} if events else {})}}


def _watched_function(name: str) -> dict[str, Any]:
    dimension = {"FunctionName": {"Ref": name}}
    logs = {"RetentionInDays": {"Ref": "LogRetentionDays"}}
    return {
        f"{name}Logs": {"Type": "AWS::Logs::LogGroup", "Properties": logs},
        f"{name}Errors": alarm(f"{name} raised: the log says where.", "AWS/Lambda", "Errors", dimension),
        f"{name}Throttles": alarm(
            f"{name} was refused: the account's concurrency is used up.", "AWS/Lambda", "Throttles", dimension
        ),
    }


def _watched_queue(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    dead = one["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
    seconds = one["Properties"]["VisibilityTimeout"]
    depth = "ApproximateNumberOfMessagesVisible"
    age = "ApproximateAgeOfOldestMessage"
    waiting = alarm(
        f"A message of {name} is older than its visibility timeout: the functions do not keep up, or one was lost.",
        "AWS/SQS", age, {"QueueName": {"Fn::GetAtt": [name, "QueueName"]}}, "Maximum", seconds,
    )  # fmt: skip
    given_up = alarm(
        f"A message of {name} was given up: look at why, then redrive it.",
        "AWS/SQS", depth, {"QueueName": {"Fn::GetAtt": [dead, "QueueName"]}}, "Maximum",
    )  # fmt: skip
    return {f"{name}Waiting": waiting, f"{dead}NotEmpty": given_up}


def alarm(
    why: str, space: str, metric: str, dimensions: Mapping[str, Any], statistic: str = "Sum", above: int = 0
) -> dict[str, Any]:
    """An alarm on five minutes of a metric that passes `above`, told to the alarms' topic."""
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": why,
            "Namespace": space,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "Statistic": statistic,
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": above,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [{"Ref": "AlarmTopic"}],
            "OKActions": [{"Ref": "AlarmTopic"}],
        },
    }


def _api(one: Mapping[str, Any]) -> dict[str, Any]:
    # Without binary media types a body arrives as text. In base64, one of 5 MB would pass Lambda's 6 MB.
    body = {
        key: value
        for key, value in one["Properties"]["DefinitionBody"].items()
        if key != "x-amazon-apigateway-binary-media-types"
    }
    # Chalice gives the type alone, which SAM takes as an object.
    endpoint = {"Type": "REGIONAL"}
    own = {
        "DefinitionBody": body,
        "EndpointConfiguration": endpoint,
        "GatewayResponses": template_responses(ANY_ORIGIN),
    }
    return {**one, "Properties": {**one["Properties"], **own}}


def _dashboard(template: Template) -> dict[str, Any]:
    names = [name for name, _ in functions(template)]
    lambda_of = {
        metric: [["AWS/Lambda", metric, "FunctionName", "${" + name + "}"] for name in names]
        for metric in ("Invocations", "Errors", "Throttles", "Duration")
    }
    waiting, dead = [], []
    for name, one in queues(template):
        letters = one["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        waiting.append(["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "${" + name + ".QueueName}"])
        dead.append(["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${" + letters + ".QueueName}"])
    ours = [["Panelport", metric, "service", "panelport"] for metric in _OURS]
    requests = [
        ["AWS/ApiGateway", metric, "ApiName", "${AWS::StackName}"] for metric in ("Count", "4XXError", "5XXError")
    ]
    shown = [
        ("Requests", requests, "Sum"),
        ("Runs and deliveries by outcome", ours, "Sum"),
        ("Oldest unfinished run (s)", [["Panelport", "OldestRunSeconds", "service", "panelport"]], "Maximum"),
        ("Age of the oldest message (s)", waiting, "Maximum"),
        ("Dead letters", dead, "Maximum"),
        ("Invocations", lambda_of["Invocations"], "Sum"),
        ("Errors", lambda_of["Errors"], "Sum"),
        ("Throttles", lambda_of["Throttles"], "Sum"),
        ("Longest invocation (ms)", lambda_of["Duration"], "Maximum"),
    ]
    widgets = [_widget(number, *one) for number, one in enumerate(shown)]
    return {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {"DashboardBody": {"Fn::Sub": json.dumps({"widgets": widgets})}},
    }


_OURS = ("RunsCompleted", "RunsFailed", "DeliveriesDelivered", "DeliveriesPending", "DeliveriesFailed")


def _widget(number: int, title: str, metrics: list[list[str]], statistic: str) -> dict[str, Any]:
    return {
        "type": "metric",
        "x": number % 2 * 12,
        "y": number // 2 * 6,
        "width": 12,
        "height": 6,
        "properties": {
            "title": title,
            "metrics": metrics,
            "stat": statistic,
            "period": 300,
            "region": "${AWS::Region}",
            "view": "timeSeries",
        },
    }

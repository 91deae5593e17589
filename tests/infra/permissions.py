"""Which permission each call to AWS needs, on what, and whether a policy grants it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ARN = "arn:aws:{}:us-east-1:123456789012:{}"


@dataclass(frozen=True, slots=True)
class Need:
    """An IAM action on a resource; `prefix` is what a listing is bound to."""

    action: str
    resource: str
    prefix: str | None = None


# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_S3 = {
    "PutObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
}
_S3_LISTS = {
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def needs(service: str, operation: str, params: Mapping[str, Any]) -> list[Need]:
    """What a call needs; ValueError for a call that nobody has thought about yet."""
    match service:
        case "s3":
            return list(_of_s3(operation, params))
        case "dynamodb":
            return list(_of_dynamodb(operation, params))
        case "sqs":
            queue = params["QueueUrl"].rpartition("/")[2]
            return [Need(f"sqs:{operation}", ARN.format("sqs", queue))]
        case "scheduler":
            return list(_of_scheduler(operation, params))
        case "secretsmanager" if operation == "GetSecretValue":
            return [Need("secretsmanager:GetSecretValue", params["SecretId"])]
        case "sesv2" if operation == "SendEmail":
            return [Need("ses:SendEmail", ARN.format("ses", f"identity/{params['FromEmailAddress']}"))]
    raise ValueError(f"{service} {operation}")


def _of_s3(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    if operation in _S3:
        version = "Version" if operation == "GetObject" and "VersionId" in params else ""
        yield Need(f"s3:{_S3[operation]}{version}", f"{bucket}/{params['Key']}")
    elif operation in _S3_LISTS:
        yield Need(f"s3:{_S3_LISTS[operation]}", bucket, params.get("Prefix", ""))
    elif operation == "DeleteObjects":
        for one in params["Delete"]["Objects"]:
            yield Need("s3:DeleteObjectVersion" if "VersionId" in one else "s3:DeleteObject", f"{bucket}/{one['Key']}")
    else:
        raise ValueError(f"s3 {operation}")


def _of_dynamodb(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    def table(name: str) -> str:
        return ARN.format("dynamodb", f"table/{name}")

    if operation == "BatchGetItem":
        yield from (Need("dynamodb:BatchGetItem", table(name)) for name in params["RequestItems"])
    elif operation == "TransactWriteItems":
        for item in params["TransactItems"]:
            [(kind, given)] = item.items()
            yield Need(f"dynamodb:{_TRANSACTED[kind]}", table(given["TableName"]))
    elif operation == "Query" and "IndexName" in params:
        yield Need("dynamodb:Query", f"{table(params['TableName'])}/index/{params['IndexName']}")
    elif operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"):
        yield Need(f"dynamodb:{operation}", table(params["TableName"]))
    else:
        raise ValueError(f"dynamodb {operation}")


def _of_scheduler(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    yield Need(f"scheduler:{operation}", ARN.format("scheduler", f"schedule/{params['GroupName']}/{params['Name']}"))
    if "Target" in params:
        # Whoever makes a schedule hands its role on.
        yield Need("iam:PassRole", params["Target"]["RoleArn"])


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one resource that a statement grants; `prefixes` are what a listing must be bound to."""

    function: str
    sid: str
    action: str
    resource: str
    prefixes: tuple[str, ...] = ()

    def covers(self, need: Need) -> bool:
        """Whether the grant lets the call through."""
        if self.action != need.action or not _like(self.resource, need.resource):
            return False
        return not self.prefixes or any(_like(prefix, need.prefix or "") for prefix in self.prefixes)


def grants(function: str, statements: Iterable[Mapping[str, Any]]) -> list[Grant]:
    """Every grant of a function's statements, whose intrinsic functions are resolved; all of them allow."""
    found = []
    for statement in statements:
        assert statement["Effect"] == "Allow"
        # Each prefix of a listing is a grant of its own: one that nobody lists is one too many.
        prefixes = _listed(statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix", [None]))
        for action in _listed(statement["Action"]):
            for resource in _listed(statement["Resource"]):
                for prefix in prefixes:
                    bound = () if prefix is None else (prefix,)
                    found.append(Grant(function, statement["Sid"], action, resource, bound))
    return found


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

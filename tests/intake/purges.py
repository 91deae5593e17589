"""Purges, and what they set going."""

import json
from typing import Any

from chalicelib.base.services import Services
from infra.local.gateway import Response
from tests.deployed import Community


def purged(community: Community, who: str = "p1", status: int = 204) -> Response:
    """The answer to a purge."""
    answer = community.call("DELETE", f"/v1/participants/{who}/personal-data")
    assert answer.status == status, answer.body
    return answer


def jobs_sent(services: Services) -> list[dict[str, Any]]:
    """The messages that wait in the jobs queue."""
    queue = services.settings.jobs_queue_url
    sent: list[dict[str, Any]] = []
    while found := services.aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        sent += [json.loads(message["Body"]) for message in found]
        for message in found:
            services.aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return sent

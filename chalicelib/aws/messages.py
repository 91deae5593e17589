"""What goes to others: queues, mail, and the schedules that put messages on queues."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.retries import Busy


class Queue:
    """An SQS queue that takes small JSON messages: at least once, late, and in any order."""

    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        self.url = url

    def send(self, message: Mapping[str, Any], *, group: str, delay_seconds: int = 0) -> None:
        """Send one message; `group` is the domain, by which SQS shares the consumers out fairly."""
        self.client.send_message(
            QueueUrl=self.url, MessageBody=json.dumps(message), MessageGroupId=group, DelaySeconds=delay_seconds
        )


class Unsent(Exception):
    """SES did not take a message; `final` when it never will."""

    def __init__(self, code: str, *, final: bool) -> None:
        super().__init__(f"the mail was refused: {code}")
        self.final = final


class Mail:
    """SES: messages to one recipient each."""

    FINAL = frozenset(
        {"MessageRejected", "BadRequestException", "NotFoundException", "MailFromDomainNotVerifiedException"}
    )

    def __init__(self, client: Any) -> None:
        self.client = client

    def send(self, sender: str, recipient: str, subject: str, text: str, page: str) -> None:
        """Send a message in text and HTML; Unsent when SES does not take it."""
        body = {"Text": {"Data": text, "Charset": "UTF-8"}, "Html": {"Data": page, "Charset": "UTF-8"}}
        simple = {"Subject": {"Data": subject, "Charset": "UTF-8"}, "Body": body}
        try:
            self.client.send_email(
                FromEmailAddress=sender, Destination={"ToAddresses": [recipient]}, Content={"Simple": simple}
            )
        except Busy as error:
            raise Unsent(str(error), final=False) from error
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise Unsent(code, final=code in self.FINAL) from error


class Timetable:
    """EventBridge Scheduler: named schedules of one group, each of which puts a message on a queue when due.

    What it could not put there within a day is put among the dead letters, `""` for none.
    """

    def __init__(self, client: Any, group: str, role_arn: str, dead_letters_arn: str) -> None:
        self.client = client
        self.group = group
        self.role_arn = role_arn
        self.dead_letters = {"DeadLetterConfig": {"Arn": dead_letters_arn}} if dead_letters_arn else {}

    def put(self, name: str, expression: str, zone: str, queue_arn: str, message: Mapping[str, Any]) -> None:
        """Make the schedule, or change it to this. The message's `due` is the due time, set by the scheduler."""
        arguments = {
            "Name": name,
            "GroupName": self.group,
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": zone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Target": {
                "Arn": queue_arn,
                "RoleArn": self.role_arn,
                "Input": json.dumps({**message, "due": "<aws.scheduler.scheduled-time>"}),
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
                **self.dead_letters,
            },
        }
        try:
            self.client.create_schedule(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConflictException":
                raise
            self.client.update_schedule(**arguments)

    def remove(self, name: str) -> None:
        """Delete the schedule; one that is not there is no error."""
        try:
            self.client.delete_schedule(Name=name, GroupName=self.group)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

"""What requests are made of, and what refusals must look like."""

from itertools import count
from typing import Any

from infra.local.gateway import Response

MEMBERSHIPS = ["subscribed", "unsubscribed", "purged", "one_time"]
ALL = {"system": "all", "profile": "all", "participation": "all"}
_numbers = count(1)


def export(**more: Any) -> dict[str, Any]:
    """The body of a new export of all participants and columns, with a title of its own."""
    dataset = {"kind": "participants", "memberships": MEMBERSHIPS, "columns": ALL}
    return {"title": f"Export {next(_numbers)}", "dataset": dataset, **more}


def problem(answer: Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal with that status."""
    assert answer.status == status, (answer.status, answer.body[:1000])
    assert answer.header("Content-Type") == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail"} <= set(body)
    assert body["status"] == status
    return body


def pointers(answer: Response) -> list[str]:
    """Where the faults of a 422 are."""
    return [error["pointer"] for error in problem(answer, 422)["errors"]]

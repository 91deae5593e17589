"""Mail through SES: one message a recipient, in text and HTML; a bounce never fails a run."""

import html
import json
from typing import Any

from chalicelib.aws.messages import Unsent
from chalicelib.aws.store import Item
from chalicelib.base.services import Services
from chalicelib.webhooks.call import Answer


def send(services: Services, item: Item) -> Answer:
    """Send a delivery's mail; the answer reads like a webhook's, so that the same schedule retries it."""
    if not services.settings.sender:
        return Answer(400, error="no sender address is configured")
    subject, text, page = content(json.loads(item["body"]))
    try:
        services.mail.send(services.settings.sender, item["address"], subject, text, page)
    except Unsent as error:
        # What SES refuses for good is not tried again; throttling and outages are.
        return Answer(400 if error.final else 503, error=str(error))
    return Answer(200)


def content(body: dict[str, Any]) -> tuple[str, str, str]:
    """Subject, text and HTML of a message: of a run's end, or of a notice."""
    if "subject" in body:
        return body["subject"], body["text"], _page(body["subject"], [body["text"]], None)
    run = body["data"]["run"]
    title = run["title"]
    if body["success"]:
        file = run["file"]
        rows = f"{file['rows']:,} row" + ("" if file["rows"] == 1 else "s")
        lines = [f"Your export “{title}” is ready: {rows}.", f"The link works until {_readable(file['expires_at'])}."]
        subject = f"Export ready: {title}"
        return subject, f"{lines[0]}\n\n{body['url']}\n\n{lines[1]}\n", _page(subject, lines, body["url"])
    reason = (run["error"] or {}).get("detail", "The run did not start.")
    subject = f"Export failed: {title}"
    lines = [f"Your export “{title}” failed.", reason]
    return subject, "\n\n".join(lines) + "\n", _page(subject, lines, None)


def _readable(instant: str) -> str:
    return f"{instant[:10]} {instant[11:16]} UTC"


def _page(subject: str, lines: list[str], url: str | None) -> str:
    paragraphs = [f"<p>{html.escape(line)}</p>" for line in lines]
    if url is not None:
        link = html.escape(url, quote=True)
        paragraphs.insert(1, f'<p><a href="{link}">Download the file</a></p><p style="word-break:break-all">{link}</p>')
    head = f'<meta charset="utf-8"><title>{html.escape(subject)}</title>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(paragraphs)}</body></html>'

"""An example of every body and every answer, by the component that it is one of; the suite holds them against it."""

from typing import Any

_AT = "2026-11-21T16:36:13.250000Z"
_LATER = "2026-11-28T16:36:13.250000Z"
_LINK = "https://panelport.example.org/d/eyJ2IjoxfQ.c2lnbmF0dXJl"

_DATASET: dict[str, Any] = {
    "kind": "participants",
    "memberships": ["subscribed", "unsubscribed"],
    "columns": {"profile": "all", "system": "all", "participation": ["ResponseRate", "EngagementStatus"]},
    "segment": {"attribute": "Region", "op": "eq", "values": ["BC"]},
}
_DELIVER: dict[str, Any] = {"webhook_ids": [], "webhook_url": None, "emails": ["ops@example.org"]}
_SCHEDULE: dict[str, Any] = {"cron": "0 8 * * MON", "timezone": "America/Vancouver", "enabled": True}
_CONFIG: dict[str, Any] = {
    "title": "Weekly panel health",
    "description": "for the Monday meeting",
    "dataset": _DATASET,
    "format": "csv",
    "format_options": {"bom": True},
    "timezone": "America/Vancouver",
    "deliver": _DELIVER,
    "schedule": _SCHEDULE,
}
_EXPORT: dict[str, Any] = {
    "id": "exp_01KAM2T7S2V5B0X8GQ4D9F3RZN",
    **_CONFIG,
    "next_due": ["2026-11-23T16:00:00.000000Z", "2026-11-30T16:00:00.000000Z", "2026-12-07T16:00:00.000000Z"],
    "created_at": _AT,
    "updated_at": _AT,
}
_ANNOUNCED: dict[str, Any] = {
    "id": "run_01KAM2T7S2J1YB6E5W0CP7M4HT",
    "export_id": _EXPORT["id"],
    "title": _CONFIG["title"],
    "status": "completed",
    "trigger": "user",
    "as_of": _AT,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
    "progress": {"percent": 100, "phase": "done", "rows_done": 1234, "rows_total": 1234},
    "file": {
        "name": "weekly-panel-health_2026-11-21T163613Z.csv",
        "format": "csv",
        "bytes": 51234,
        "rows": 1234,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "columns": ["Participant_Id", "EmailAddress", "ResponseRate"],
        "download_url": _LINK,
        "expires_at": _LATER,
    },
    "warnings": [],
    "error": None,
}
_RUN: dict[str, Any] = {**_ANNOUNCED, "config": _CONFIG}
_CHOICES: list[dict[str, Any]] = [{"code": 1, "label": "Female"}, {"code": 9, "label": "Refused", "missing": True}]
_ATTRIBUTE: dict[str, Any] = {
    "name": "Gender",
    "label": "What is your gender?",
    "type": "choice",
    "choices": _CHOICES,
    "multiple": False,
}
_CONVERSATION: dict[str, Any] = {
    "id": "spring-chat",
    "title": "Spring chat",
    "kind": "research",
    "status": "published",
    "mode": "live",
    "code": "d4r9k2m7",
    "max_participants": 500,
    "question_count": 12,
    "destination_url": "https://chat.example.org/spring",
    "link": "https://panelport.example.org/c/d4r9k2m7",
    "links_issued": 500,
    "anonymous": False,
    "devices": 1,
    "allow_multiple_devices": False,
    "created_at": _AT,
    "updated_at": _AT,
}
_ASKED_CONVERSATION = {
    name: _CONVERSATION[name]
    for name in ("id", "title", "kind", "max_participants", "question_count", "destination_url")
}
_SEGMENT: dict[str, Any] = {
    "all": [
        {"event": "journey_enter", "times": {"op": "gte", "value": 1}, "range": {"last": 30, "unit": "day"},
         "where": [{"param": "journey_id", "op": "eq", "values": [1421]}]},
        {"not": {"channel": "EM", "action": "CLICK"}},
    ]
}  # fmt: skip
_SAVED: dict[str, Any] = {
    "segment_id": 1763742973250417,
    "name": "Entered, never clicked",
    "segment": _SEGMENT,
    "created_at": _AT,
}
_KEY: dict[str, Any] = {
    "id": "key_01KAM2T7S2N8R3ZV6Q1TDW5XHB",
    "name": "front end",
    "role": "editor",
    "created_at": _AT,
    "expires_at": None,
    "revoked_at": None,
}
_DOMAIN: dict[str, Any] = {
    "id": "demo",
    "name": "Demo",
    "contact_email": "ops@example.org",
    "webhook_secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
}
_WEBHOOK: dict[str, Any] = {
    "id": "whk_01KAM2T7S2C4E9K0M7PBY2G6QA",
    "url": "https://hooks.example.org/panelport",
    "events": ["export.completed", "export.failed"],
    "description": "the data team's receiver",
    "enabled": True,
    "disabled_reason": None,
    "created_at": _AT,
}
_WEBHOOK_WITH_SECRET = {**_WEBHOOK, "secret": _DOMAIN["webhook_secret"]}
_DELIVERY: dict[str, Any] = {
    "id": "dlv_01KAM2T7S2F0H7S5A3RWX9J2DK",
    "event": "export.completed",
    "status": "pending",
    "attempts": [{"at": _AT, "status": 503, "error": None, "duration_ms": 84}],
    "next_attempt_at": _AT,
    "created_at": _AT,
}
_IMPORT: dict[str, Any] = {
    "id": "imp_01KAM2T7S2T6B8N4D1VQGZ0YCE",
    "kind": "participants",
    "format": "csv",
    "source": "upload",
    "status": "completed",
    "progress": {"percent": 100, "phase": "done"},
    "rows_accepted": 998,
    "rows_rejected": 2,
    "rejected_url": _LINK,
    "encoding": "utf-8",
    "delimiter": ",",
    "warnings": [],
    "error": None,
    "created_at": _AT,
    "finished_at": _AT,
}
_UPLOAD: dict[str, Any] = {
    "url": "https://bucket.s3.amazonaws.com/imports/demo?X-Amz-Signature=0",
    "headers": {"Content-Type": "text/csv"},
    "expires_at": _AT,
}
_PARTICIPANT: dict[str, Any] = {
    "participant_id": "p-1",
    "membership": "subscribed",
    "email": "ada@example.org",
    "subscribed_at": "2026-01-05T09:00:00Z",
    "attributes": {"Gender": "Female", "Age": 36},
}
_EVENT: dict[str, Any] = {
    "event_id": "e-1",
    "participant_id": "p-1",
    "name": "chat_completed",
    "occurred_at": "2026-11-20T18:04:05.250Z",
    "params": {"conversation_id": "spring-chat"},
}
_COLUMN: dict[str, Any] = {
    "name": "ResponseRate",
    "label": "Response rate",
    "type": "number",
    "definition": "100 x (ChatsCompleted + ChatsDQ + ChatsOQ) / ChatsInvited",
    "default": False,
}
_ENTRY: dict[str, Any] = {
    "name": "Gender",
    "label": "What is your gender?",
    "type": "choice",
    "value_labels": [{"code": 1, "label": "Female", "missing": False}],
    "source": "profile",
    "definition": "Profile attribute of the domain",
}
_MESSAGE: dict[str, Any] = {"run": _ANNOUNCED, "export": {"id": _EXPORT["id"], "title": _EXPORT["title"]}}
_FAILED = {
    **_ANNOUNCED,
    "status": "failed",
    "file": None,
    "error": {"code": "failed", "detail": "The run failed three times."},
}


def _page(item: Any) -> dict[str, Any]:
    return {"items": [item], "next_cursor": None}


EXAMPLES: dict[str, Any] = {
    "Accepted": {"accepted": 1},
    "AssignmentsBody": {"assignments": [{"pid": "0123456789abcdefghjkmnpq", "assigned_to": "ada@example.org"}]},
    "Attribute": _ATTRIBUTE,
    "AttributeBody": {name: member for name, member in _ATTRIBUTE.items() if name != "name"},
    "AttributesBody": {"attributes": [_ATTRIBUTE]},
    "Defined": {"defined": 1},
    "AttributePage": _page(_ATTRIBUTE),
    "Catalogue": {"kind": "participants", "columns": {"system": [], "profile": [], "participation": [_COLUMN]}},
    "Codebook": {"run_id": _RUN["id"], "columns": [_ENTRY]},
    "Conversation": _CONVERSATION,
    "ConversationBody": _ASKED_CONVERSATION,
    "ConversationPage": _page(_CONVERSATION),
    "ConversationPatch": {"title": "Spring chat, second wave"},
    "CountBody": {"segment": _SEGMENT, "timezone": "America/Vancouver"},
    "Delivery": _DELIVERY,
    "DeliveryPage": _page(_DELIVERY),
    "Description": {"openapi": "3.1.0", "info": {"title": "Panelport", "version": "1.0.0"}, "paths": {}},
    "Domain": _DOMAIN,
    "DomainPatch": {"name": "Demo community", "contact_email": "data@example.org"},
    "EventsBody": {"events": [_EVENT]},
    "Export": _EXPORT,
    "ExportBody": {**_CONFIG, "run": True},
    "ExportCompleted": {
        "type": "export.completed", "timestamp": _AT, "success": True, "url": _LINK, "data": _MESSAGE,
    },
    "ExportFailed": {
        "type": "export.failed", "timestamp": _AT, "success": False, "url": None, "data": {**_MESSAGE, "run": _FAILED},
    },
    "ExportPage": _page(_EXPORT),
    "ExportPatch": {"schedule": None},
    "Health": {"status": "ok"},
    "Import": _IMPORT,
    "ImportBody": {"kind": "participants", "format": "csv"},
    "ImportPage": _page(_IMPORT),
    "InsiderAnswer": {"success": True, "url": _LINK},
    "InsiderRefusal": {"success": False, "message": "X-PARTNER-NAME and X-REQUEST-TOKEN do not name a partner."},
    "KeyBody": {"name": "front end", "role": "editor"},
    "KeyPage": _page(_KEY),
    "LinksBody": {"count": 500, "devices": 1},
    "NewExport": {**_EXPORT, "run": _RUN},
    "NewImport": {"id": _IMPORT["id"], "status": "created", "upload": _UPLOAD},
    "NewKey": {**_KEY, "key": f"pp_{_KEY['id']}_{'0' * 64}"},
    "ParticipantsBody": {"participants": [_PARTICIPANT]},
    "Problem": {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "The request is well-formed but refused.",
        "errors": [{"pointer": "/title", "code": "too_long", "detail": "must be a text of at most 200 characters",
                    "params": {"max": 200}}],
    },
    "RawBody": {
        "segment": {"segment_id": _SAVED["segment_id"]},
        "attributes": ["email", "c_Gender"],
        "events": {"start_date": 1762300800, "end_date": 1763742973,
                   "wanted": [{"event_name": "journey_enter", "params": ["journey_id"]}]},
        "format": "csv",
        "hook": "hooks.example.org/raw",
    },
    "Recorded": {"recorded": 1},
    "Run": _RUN,
    "RunBody": {"as_of": "2026-11-01T00:00:00Z"},
    "RunPage": _page(_RUN),
    "SavedSegment": _SAVED,
    "SavedSegmentPage": _page(_SAVED),
    "SegmentBody": {"name": _SAVED["name"], "segment": _SEGMENT},
    "SegmentCount": {"users": 1234, "filters_applied": 2},
    "Webhook": _WEBHOOK,
    "WebhookBody": {"url": _WEBHOOK["url"], "events": _WEBHOOK["events"]},
    "WebhookPage": _page(_WEBHOOK),
    "WebhookPatch": {"enabled": True},
    "WebhookTest": {"type": "webhook.test", "timestamp": _AT, "success": True, "url": None, "data": {}},
    "WebhookWithSecret": _WEBHOOK_WITH_SECRET,
}  # fmt: skip

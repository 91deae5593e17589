"""Segments read and evaluated in plain Python, from the contract alone: what the SQL is compared with.

A participant is a dict with participant_id, email, membership, created_at, subscribed_at, subscription_ended_at (aware)
and `attributes`; an event is a dict with event_id, participant_id, name, occurred_at (aware) and `params`. Attribute
types are given as {name: (type, {label: code})}.
"""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

SYSTEM = {
    "Participant_Id": ("participant_id", "text"),
    "EmailAddress": ("email", "text"),
    "MembershipStatus": ("membership", "membership"),
    "CreatedAt": ("created_at", "datetime"),
    "SubscribedAt": ("subscribed_at", "datetime"),
    "SubscriptionEndedAt": ("subscription_ended_at", "datetime"),
}
ACTIONS = {2: "CLICK", 4: "VIEW", 1: "SEND", 30: "WHATSAPP_OPEN"}
CHANNELS = {"EM": "Email", "WP": "Web Push", "SMS": "SMS"}
ALIASES = {"journey_entered": "journey_enter", "journey_exited": "journey_exit"}


def matching(segment, participants, events, types, as_of, zone):
    """The ids of the participants, not purged, who match."""
    seen = {}
    for event in events:
        if event["occurred_at"] <= as_of:
            seen.setdefault(event["participant_id"], []).append(event)
    scope = (types, as_of, zone)
    return {
        one["participant_id"]
        for one in participants
        if one["membership"] != "purged"
        and (segment is None or holds(segment, one, seen.get(one["participant_id"], []), scope))
    }


def holds(segment, person, events, scope):
    if "all" in segment:
        return all(holds(member, person, events, scope) for member in segment["all"])
    if "any" in segment:
        return any(holds(member, person, events, scope) for member in segment["any"])
    if "not" in segment:
        return not holds(segment["not"], person, events, scope)
    if "attribute" in segment:
        return attribute_holds(segment, person, scope[0])
    times = segment.get("times") or {"op": "gte", "value": 1}
    happened = sum(event_holds(segment, event, scope) for event in events)
    return {"eq": happened == times["value"], "gte": happened >= times["value"], "lte": happened <= times["value"]}[
        times["op"]
    ]


def event_holds(condition, event, scope):
    if not in_range(condition.get("range"), event["occurred_at"], scope[1], scope[2]):
        return False
    if "event" in condition:
        name = ALIASES.get(condition["event"], condition["event"])
        return event["name"] == name and all(param_holds(where, event, name) for where in condition.get("where") or [])
    params = event["params"]
    return (
        event["name"] == "journey_product_action"
        and ("channel" not in condition or same_channel(condition["channel"], params.get("channel_code")))
        and ("action" not in condition or same_action(condition["action"], params.get("action_code")))
        and all(key not in condition or same(condition[key], params.get(key)) for key in ("journey_id", "campaign_id"))
    )


def in_range(span, instant, as_of, zone):
    if span is None:
        return True
    if "from" in span:
        return datetime.fromisoformat(span["from"]) <= instant < datetime.fromisoformat(span["to"])
    if span["unit"] == "month":
        return months_before(as_of, span["last"], zone) <= instant <= as_of
    hours = {"hour": 1, "day": 24, "week": 168}[span["unit"]]
    return as_of - timedelta(hours=hours * span["last"]) <= instant <= as_of


def months_before(instant, months, zone):
    wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    year, month = wall.year, wall.month
    for _ in range(months):
        year, month = (year - 1, 12) if month == 1 else (year, month - 1)
    wall = wall.replace(year=year, month=month, day=min(wall.day, monthrange(year, month)[1]))
    early = wall.replace(tzinfo=ZoneInfo(zone), fold=0)
    return early.astimezone(UTC)


def kind(value):
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def same(wanted, held):
    """Equal, and of the same JSON type."""
    return held is not None and kind(wanted) == kind(held) and wanted == held


def meanings(value, table):
    """The code that a value spells, as text; None if it is none."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    by_name = {name.lower(): code for code, name in table.items()} | {str(code).lower(): code for code in table}
    return str(by_name.get(text.lower(), text.removeprefix("UNKNOWN_")))


def same_action(wanted, held):
    return held is not None and not isinstance(held, bool) and meanings(wanted, ACTIONS) == meanings(held, ACTIONS)


def same_channel(wanted, held):
    return isinstance(held, str) and meanings(wanted, CHANNELS) == meanings(held, CHANNELS)


def param_holds(where, event, name):
    held, op, values = event["params"].get(where["param"]), where["op"], where.get("values", [])
    equal = same
    if name == "journey_product_action":
        equal = {"action_code": same_action, "channel_code": same_channel}.get(where["param"], same)
    if op in ("gt", "gte", "lt", "lte"):
        return ordered(op, comparable(held), comparable(values[0]))
    return compared(op, held, values, equal)


def comparable(value):
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return date.fromisoformat(value)
        if re.search(r"T.*(Z|[+-]\d\d:\d\d)$", value):
            return datetime.fromisoformat(value)
        return None
    return None if isinstance(value, bool) else value


def ordered(op, held, wanted):
    if (
        held is None
        or wanted is None
        or (type(held) is not type(wanted) and not {type(held), type(wanted)} <= {int, float})
    ):
        return False
    return {"gt": held > wanted, "gte": held >= wanted, "lt": held < wanted, "lte": held <= wanted}[op]


def lower(text):
    return "".join(letter.lower() for letter in text)


def compared(op, held, values, equal):
    if op == "exists":
        return held is not None
    if op == "not_exists":
        return held is None
    if op == "eq":
        return any(equal(value, held) for value in values)
    if op == "ne":
        return not any(equal(value, held) for value in values)
    if not isinstance(held, str):
        return False
    if op == "contains":
        return any(lower(value) in lower(held) for value in values)
    return any(lower(held).startswith(lower(value)) for value in values)


def attribute_holds(condition, person, types):
    name, op, values = condition["attribute"], condition["op"], condition.get("values", [])
    if name in SYSTEM:
        field, kind_of = SYSTEM[name]
        held, labels = person[field], {}
    else:
        kind_of, labels = types[name]
        held = person["attributes"].get(name)
    if kind_of in ("choice", "choices"):
        values = [labels[value] if isinstance(value, str) else value for value in values]
    elif kind_of == "date":
        values = [date.fromisoformat(value) for value in values]
    elif kind_of == "datetime":
        values = [datetime.fromisoformat(value) for value in values]
    if op in ("gt", "gte", "lt", "lte"):
        return ordered(op, held, values[0])
    if kind_of == "choices":
        return compared(op, held, values, lambda value, selected: selected is not None and value in selected)
    return compared(op, held, values, lambda value, one: one is not None and value == one)


# What may be refused, found independently.

ALLOWED = {
    "text": {"eq", "ne", "contains", "starts_with", "exists", "not_exists"},
    "number": {"eq", "ne", "gt", "gte", "lt", "lte", "exists", "not_exists"},
    "boolean": {"eq", "ne", "exists", "not_exists"},
}
ALLOWED |= {"date": ALLOWED["number"], "datetime": ALLOWED["number"]}
ALLOWED |= dict.fromkeys(("choice", "choices", "membership"), ALLOWED["boolean"])


def refusals(segment, types, pointer="/segment"):
    """Pointers of: nesting past 5, more than 50 conditions, unknown columns, operators that a type does not have."""
    found = set()
    conditions = list(walk(segment, pointer, 0, found))
    if len(conditions) > 50:
        found.add(pointer)
    for condition, place in conditions:
        if "attribute" in condition:
            name = condition["attribute"]
            if name not in SYSTEM and name not in types:
                found.add(f"{place}/attribute")
            elif condition["op"] not in ALLOWED[SYSTEM[name][1] if name in SYSTEM else types[name][0]]:
                found.add(f"{place}/op")
    return found


def walk(segment, pointer, depth, found):
    for word in ("all", "any", "not"):
        if word in segment:
            if depth == 5:
                found.add(pointer)
                return
            inner = [segment[word]] if word == "not" else segment[word]
            for n, member in enumerate(inner):
                place = f"{pointer}/{word}" + ("" if word == "not" else f"/{n}")
                yield from walk(member, place, depth + 1, found)
            return
    yield segment, pointer

"""What both kinds of batches share: at most 1,000 items, every fault of every item by its pointer, all or nothing."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, StringConstraints, ValidationError

from chalicelib.base import instants
from chalicelib.base.errors import MAX_FAULTS, Fault, Invalid
from chalicelib.base.patterns import PARTICIPANT_ID
from chalicelib.web.complaints import faults_of
from chalicelib.web.http import Body

MAX_ITEMS = 1000

ParticipantId = Annotated[str, StringConstraints(pattern=PARTICIPANT_ID)]
Instant = Annotated[datetime, BeforeValidator(instants.parse)]

# Items that are checked one by one against what the domain has defined: (item, pointer of the item) -> faults.
ItemCheck = Callable[[Any, str], Sequence[Fault]]


def read[Row: Body](value: Any, member: str, row: type[Row], check: ItemCheck) -> list[Row]:
    """The rows of `{"<member>": [...]}`; Invalid with every fault of every item at once."""
    if not isinstance(value, dict):
        raise Invalid([Fault("", "wrong_type", "must be an object", {"expected": ["object"]})])
    faults = [
        Fault(f"/{escaped(name)}", "unknown_member", "is not a field of this request")
        for name in value
        if name != member
    ]
    items = value.get(member)
    if not isinstance(items, list):
        listed = Fault(f"/{member}", "wrong_type", "must be a list", {"expected": ["list"]})
        raise Invalid([listed if member in value else Fault(f"/{member}", "required", "is required"), *faults])
    if len(items) > MAX_ITEMS:
        detail = f"holds {len(items)} items; a batch takes {MAX_ITEMS}"
        raise Invalid([Fault(f"/{member}", "too_many", detail, {"max": MAX_ITEMS, "count": len(items)}), *faults])
    rows: list[Row] = []
    found = [_item_faults(item, f"/{member}/{n}", row, check, rows) for n, item in enumerate(items)]
    if faults or any(found):
        raise Invalid(_named(found, faults))
    return rows


def _item_faults[Row: Body](item: Any, at: str, row: type[Row], check: ItemCheck, rows: list[Row]) -> list[Fault]:
    """The item's faults; one that pydantic lets through is added to the rows."""
    faults: list[Fault] = []
    try:
        rows.append(row.model_validate(item))
    except ValidationError as error:
        faults += faults_of(error, item, at)
    if isinstance(item, dict):
        faults += check(item, at)
    return faults


def _named(found: Sequence[Sequence[Fault]], others: Sequence[Fault]) -> list[Fault]:
    """As many faults as an answer takes, by item, so that each bad item is named by one at least."""
    first = [(n, faults[0]) for n, faults in enumerate(found) if faults]
    further = [(n, fault) for n, faults in enumerate(found) for fault in faults[1:]]
    kept = [*first, *((-1, fault) for fault in others), *further][:MAX_FAULTS]
    return [fault for _, fault in sorted(kept, key=lambda pair: pair[0])]


def escaped(name: str) -> str:
    """A member's name as a step of an RFC 6901 pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def is_participant_id(text: str) -> bool:
    """Whether the text can be a participant's id."""
    return re.fullmatch(PARTICIPANT_ID, text, re.ASCII) is not None

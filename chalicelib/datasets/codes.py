"""The codes of journey events: actions and channels, their names, and every way in which they are spelled."""

import re
from dataclasses import dataclass

PRODUCT_ACTION = "journey_product_action"

# Feeds spell two of the journey events in two ways; the first is what Panelport keeps and shows.
EVENT_ALIASES = {"journey_entered": "journey_enter", "journey_exited": "journey_exit"}

ACTIONS: dict[int, str] = {
    1: "SEND",
    2: "CLICK",
    3: "CLOSE",
    4: "VIEW",
    13: "ELIGIBLE_PROCEED",
    14: "ELIGIBLE_COUPON_PROCEED",
    16: "REPLY",
    18: "CAPPED",
    19: "CALL_API_SUCCESS",
    20: "CALL_API_FAILED",
    21: "CALL_API_SENT",
    22: "CALL_API_OPEN",
    23: "CALL_API_THROTTLED",
    24: "CALL_API_PROCEED",
    25: "GCM_DROPPED",
    26: "CALL_API_SAVED_ACTION_CODE",
    27: "PRIORITY_EXIT",
    28: "SMS_DROPPED",
    29: "SMS_UNDELIVERED",
    30: "WHATSAPP_OPEN",
    32: "SMS_UNSUBSCRIBE",
    33: "WHATS_APP_UNSUBSCRIBE",
    34: "SKIPPED",
    35: "LIVE_ACTION_PROCEED",
    36: "CALL_API_EMPTY_RESPONSE_ACTION_CODE",
}

CHANNELS: dict[str, str] = {
    "EM": "Email",
    "WP": "Web Push",
    "SMS": "SMS",
    "WAB": "WhatsApp",
    "APP": "App Push",
    "IA": "InApp",
    "WC": "On-Site",
    "AC": "Call an API",
    "GCM": "Google Ads Customer Match",
    "FB": "Facebook Custom Audiences",
}

UNKNOWN = "UNKNOWN_"

_ACTION_CODES = {name: code for code, name in ACTIONS.items()}
_CHANNEL_CODES = {word.casefold(): code for code, name in CHANNELS.items() for word in (name, code)}
_ACTION_NUMBER = re.compile(rf"(?:{UNKNOWN})?(-?\d{{1,18}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Spellings:
    """The values of a parameter that all mean one code: as a number, as text, and by name."""

    numbers: tuple[int, ...]
    texts: tuple[str, ...]


def canonical_event(name: str) -> str:
    """The one name under which an event is kept."""
    return EVENT_ALIASES.get(name, name)


def action_name(code: int) -> str:
    """`CLICK` for 2; `UNKNOWN_99` for a code that has no name."""
    return ACTIONS.get(code, f"{UNKNOWN}{code}")


def action(value: object) -> Spellings | None:
    """What a filter's action means: a code (2, 99), also as text, a name (case aside) or `UNKNOWN_99`; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _spelled(value)
    if not isinstance(value, str):
        return None
    number = _ACTION_NUMBER.fullmatch(value.upper())
    code = int(number[1]) if number else _ACTION_CODES.get(value.upper())
    return None if code is None else _spelled(code)


def channel(value: object) -> Spellings | None:
    """What a filter's channel means: a code (`EM`), a name (`Email`), case aside, or `UNKNOWN_XY`; else None."""
    if not isinstance(value, str):
        return None
    code = _CHANNEL_CODES.get(value.casefold())
    if code is not None:
        return Spellings((), tuple(dict.fromkeys((code, CHANNELS[code]))))
    if value.startswith(UNKNOWN) and len(value) > len(UNKNOWN):
        return Spellings((), (value.removeprefix(UNKNOWN), value))
    return None


def _spelled(code: int) -> Spellings:
    return Spellings((code,), (str(code), action_name(code)))

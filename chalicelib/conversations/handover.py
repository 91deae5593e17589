"""A link's way to another device: the request for a code, the code that a bound device shows, the tries at entering it.

What is stored is one small row a link, gone a day after its last change; the code itself is never stored, only what it
is derived from. Everything here is pure: each step makes the next state of the one before, and its refusal is None.
Times are unix seconds.

Whoever holds the link can ask and guess, so everything that a stranger can do is counted: a request interrupts the
holder for five minutes at most, one at a time and six times a day; of 1,000,000 codes five are tried, three times a
day. Nothing of it ever keeps the holder out.
"""

from dataclasses import dataclass, replace

DAY = 86_400
REQUEST_SECONDS = 300
CODE_SECONDS = 600
TRIES = 5
CODES_A_DAY = 3
# A request that nobody answers, or that the holder declines, costs no code; six of them make half an hour a day.
REQUESTS_A_DAY = 6


@dataclass(frozen=True, slots=True)
class Code:
    """A code that can be entered: made at `at` for a form of the page that offers it, shown by `device` (32 hex
    digits each), tried `tries` times."""

    form: str
    at: int
    device: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Handover:
    """Where a link's handover stands: the last day's requests and codes by their times, and what is open of them."""

    requests: tuple[int, ...] = ()
    is_asked: bool = False
    codes: tuple[int, ...] = ()
    code: Code | None = None


def standing(written: Handover, now: int) -> Handover:
    """What stands now of a state as it was written: without what is older than a day, has lapsed, or has been tried too
    often."""
    requests = tuple(at for at in written.requests if at > now - DAY)
    is_asked = written.is_asked and requests != () and requests[-1] > now - REQUEST_SECONDS
    codes = tuple(at for at in written.codes if at > now - DAY)
    code = written.code
    stands = code is not None and code.at > now - CODE_SECONDS and code.tries < TRIES
    return Handover(requests, is_asked, codes, code if stands else None)


def forgotten_at(now: int) -> int:
    """When nothing stands any more of a state that is written now."""
    return now + DAY + CODE_SECONDS


def asked(handover: Handover, now: int) -> Handover | None:
    """Once another device has asked for a code; None when that was done too often today.

    While a request is open, or nothing but a code already made is left of the day, it stays as it is.
    """
    if handover.is_asked:
        return handover
    if len(handover.requests) < REQUESTS_A_DAY and len(handover.codes) < CODES_A_DAY:
        return replace(handover, requests=(*handover.requests, now), is_asked=True)
    return handover if handover.code else None


def settled(handover: Handover) -> Handover:
    """Once the holder has answered the request: it interrupts no more."""
    return replace(handover, is_asked=False)


def minted(handover: Handover, form: str, device: str, now: int) -> Handover | None:
    """Once this device has had a code made, in place of any before; None when no request is open, or the day's codes
    are spent.

    A form that is sent again, since its answer was lost or the page reloaded, finds the code that it made; so does
    another page of the same device, once the request has been answered.
    """
    code = handover.code
    if code is not None and code.device == device and (code.form == form or not handover.is_asked):
        return settled(handover)
    if not handover.is_asked or len(handover.codes) >= CODES_A_DAY:
        return None
    return Handover(handover.requests, False, (*handover.codes, now), Code(form, now, device))


def tried(handover: Handover) -> Handover | None:
    """Once a try has been spent; None when there is no code to be tried."""
    code = handover.code
    return replace(handover, code=replace(code, tries=code.tries + 1)) if code else None


def is_showable(handover: Handover, device: str) -> bool:
    """Whether this device has a code to show or may have one made: another one asks, or its own code stands."""
    return handover.is_asked or (handover.code is not None and handover.code.device == device)


def pause(handover: Handover, now: int) -> int:
    """Seconds until a day's limit that is reached makes room; 0 where there is room."""
    limits = (handover.requests, REQUESTS_A_DAY), (handover.codes, CODES_A_DAY)
    return max([0, *(times[-most] + DAY - now for times, most in limits if len(times) >= most)])

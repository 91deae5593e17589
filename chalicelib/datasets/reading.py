"""Reading JSON values strictly: what is wrong goes into a list of faults, by its pointer, and reading goes on."""

from collections.abc import Sequence

from chalicelib.base.errors import Code, Fault

MAX_TEXT = 10_000


def at(pointer: str, *steps: str | int) -> str:
    """The RFC 6901 pointer of a member below `pointer`."""
    return pointer + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def members(
    value: object, pointer: str, faults: list[Fault], *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> dict[str, object] | None:
    """The object's members without the optional ones that are null; None when it is no object.

    Unknown members are faults by their name, and so are required ones that are missing or null.
    """
    if not isinstance(value, dict):
        faults.append(Fault(pointer, "wrong_type", "must be an object", {"expected": ["object"]}))
        return None
    known = (*required, *optional)
    for name in value:
        if name not in known:
            faults.append(Fault(at(pointer, name), "unknown_member", "is not a field of this request"))
    for name in required:
        if value.get(name) is None:
            faults.append(Fault(at(pointer, name), "required", "is required"))
    return {name: value[name] for name in known if value.get(name) is not None}


def items(value: object, pointer: str, faults: list[Fault], most: int, least: int = 1) -> list[object]:
    """The members of a list of `least` to `most`; empty when it is none."""
    if not isinstance(value, list):
        faults.append(Fault(pointer, "wrong_type", "must be a list", {"expected": ["list"]}))
        return []
    if not least <= len(value) <= most:
        code: Code = "too_many" if len(value) > most else "too_short" if value else "empty"
        detail = f"must hold {least} to {most} items; it holds {len(value)}"
        faults.append(Fault(pointer, code, detail, {"min": least, "max": most, "count": len(value)}))
        return []
    return value


def text(value: object, pointer: str, faults: list[Fault], longest: int = MAX_TEXT) -> str | None:
    """A text that is not empty."""
    if value == "":
        faults.append(Fault(pointer, "empty", "must not be empty"))
        return None
    return any_text(value, pointer, faults, longest)


def any_text(value: object, pointer: str, faults: list[Fault], longest: int = MAX_TEXT) -> str | None:
    """A text, which may be empty, that a database can hold: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        faults.append(Fault(pointer, "wrong_type", "must be a text", {"expected": ["text"]}))
    elif len(value) > longest:
        faults.append(Fault(pointer, "too_long", f"must be a text of at most {longest} characters", {"max": longest}))
    elif "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        faults.append(Fault(pointer, "malformed", "must not hold a NUL character or half of a surrogate pair"))
    else:
        return value
    return None


def whole(value: object, pointer: str, faults: list[Fault], least: int) -> int | None:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        code: Code = "out_of_range" if isinstance(value, int) and not isinstance(value, bool) else "wrong_type"
        params = {"min": least} if code == "out_of_range" else {"expected": ["integer"], "min": least}
        faults.append(Fault(pointer, code, f"must be a whole number of at least {least}", params))
        return None
    return value


def word[Word: str](value: object, pointer: str, faults: list[Fault], words: Sequence[Word]) -> Word | None:
    """One of the words."""
    for known in words:
        if isinstance(value, str) and value == known:
            return known
    faults.append(Fault(pointer, "not_one_of", f"must be one of {', '.join(words)}", {"allowed": list(words)}))
    return None


def is_number(value: object) -> bool:
    """Whether the value is a JSON number that a double holds; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return abs(float(value)) != float("inf") and value == value
    except OverflowError:
        return False

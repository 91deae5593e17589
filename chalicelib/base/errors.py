"""Every refusal that a caller can get: one class per answer, each an RFC 9457 problem."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal

# More than these tell nobody anything, and an answer must not grow with what is wrong with a request.
MAX_FAULTS = 1000
MAX_FAULT_BYTES = 1_000_000
MAX_POINTER = 1000


# What can be wrong with a member: `empty` is nothing where something is needed, `conflict` what another thing's state
# forbids, `not_allowed` what this caller may not.
Code = Literal[
    "required", "unknown_member", "wrong_type", "malformed", "empty", "too_short", "too_long", "too_large",
    "out_of_range", "not_one_of", "duplicate", "taken", "not_found", "not_allowed", "not_available", "too_many",
    "conflict",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (an RFC 6901 pointer), which kind of thing, and what, as a sentence.

    `params` is what the sentence is made of, so that a front end can say it in its own language: `{"max": 200}`.
    """

    pointer: str
    code: Code
    detail: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def below(self, pointer: str) -> "Fault":
        """The same fault, of a value that stands at `pointer` of a larger one."""
        return replace(self, pointer=pointer + self.pointer)

    def shown(self) -> dict[str, Any]:
        """The fault as callers see it."""
        return {"pointer": self.pointer, "code": self.code, "detail": self.detail, "params": dict(self.params)}


class Faulty(ValueError):
    """A value that is refused; the faults point into it. Validators raise it, whoever knows the value's place tells."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.detail for fault in faults))
        self.faults = tuple(faults)

    def at(self, pointer: str) -> list[Fault]:
        """The faults, of a value that stands at `pointer`."""
        return [fault.below(pointer) for fault in self.faults]


def faulty(code: Code, detail: str, **params: Any) -> Faulty:
    """The refusal of a value as a whole, wherever it stands."""
    return Faulty([Fault("", code, detail, params)])


class Refusal(Exception):
    """A request that is answered with a problem document instead of its effect."""

    status: int = 400

    def __init__(self, detail: str, *, faults: Sequence[Fault] = (), headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = headers or {}

    def problem(self) -> dict[str, object]:
        """The problem document, as RFC 9457 names its members, with `errors` where there are faults to point at."""
        problem: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.faults:
            problem["errors"] = [fault.shown() for fault in self.faults]
        return problem


class Malformed(Refusal):
    """The request cannot be read at all."""

    status = 400


class Unauthenticated(Refusal):
    """No key, or none that is known, live and unexpired."""

    status = 401


class Forbidden(Refusal):
    """The key is good, its role may not."""

    status = 403


class NotFound(Refusal):
    """Not there, or not this domain's: the two cannot be told apart."""

    status = 404

    def __init__(self, detail: str = "There is no such thing here.") -> None:
        super().__init__(detail)


class Conflict(Refusal):
    """What is asked for contradicts what is there; with a fault where one member of the request is to blame."""

    status = 409


class Gone(Refusal):
    """It was there and is no more: expired, revoked or ended."""

    status = 410


class TooLarge(Refusal):
    """The body is past 5 MB."""

    status = 413


class UnsupportedMediaType(Refusal):
    """The body is not declared as application/json."""

    status = 415


class Invalid(Refusal):
    """Well-formed but refused; every fault at once, the first `MAX_FAULTS` or a megabyte of them."""

    status = 422

    def __init__(self, faults: Sequence[Fault], detail: str = "The request is well-formed but refused.") -> None:
        super().__init__(detail, faults=_bounded(faults))


def _bounded(faults: Sequence[Fault]) -> list[Fault]:
    # A member's name may be as long as the body: a pointer to it, or a detail that quotes it, is cut.
    kept = dict.fromkeys(_cut(fault) for fault in faults[:MAX_FAULTS])
    size = 0
    for n, fault in enumerate(kept):
        size += len(json.dumps(fault.shown(), ensure_ascii=False).encode())
        if n and size > MAX_FAULT_BYTES:
            return list(kept)[:n]
    return list(kept)


def _cut(fault: Fault) -> Fault:
    if len(fault.pointer) > MAX_POINTER:
        above = fault.pointer[:MAX_POINTER].rpartition("/")[0]
        detail = f"a member below, whose name is too long to repeat: {fault.detail}"
        return _cut(replace(fault, pointer=above, detail=detail))
    if len(fault.detail) > MAX_POINTER:
        return replace(fault, detail=fault.detail[:MAX_POINTER] + " ...", params=_short(fault.params))
    return fault


def _short(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[:MAX_POINTER] if isinstance(value, str) else value for name, value in params.items()}


class TooMany(Refusal):
    """Asked too often; `Retry-After` says when to come back."""

    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(Refusal):
    """Something that this needs cannot take more at the moment; `Retry-After` says when to come back."""

    status = 503

    def __init__(
        self, detail: str = "The service is busy at this moment; ask again shortly.", retry_after: int = 1
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


def invalid(pointer: str, code: Code, detail: str, **params: Any) -> Invalid:
    """The refusal of a request with a single fault."""
    return Invalid([Fault(pointer, code, detail, params)])


def conflict(detail: str, pointer: str, code: Code = "conflict", **params: Any) -> Conflict:
    """A conflict that one member of the request is to blame for."""
    return Conflict(detail, faults=[Fault(pointer, code, detail, params)])

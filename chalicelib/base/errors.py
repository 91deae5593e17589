"""Every refusal that a caller can get: one class per answer, each an RFC 9457 problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

# More than these tell nobody anything, and an answer must not grow with what is wrong with a request.
MAX_FAULTS = 1000
MAX_FAULT_BYTES = 1_000_000
MAX_POINTER = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request body: where (an RFC 6901 pointer) and what."""

    pointer: str
    detail: str


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
            problem["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in self.faults]
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
    """What is asked for contradicts what is there."""

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
        size += len(fault.pointer.encode()) + len(fault.detail.encode())
        if n and size > MAX_FAULT_BYTES:
            return list(kept)[:n]
    return list(kept)


def _cut(fault: Fault) -> Fault:
    if len(fault.pointer) > MAX_POINTER:
        above = fault.pointer[:MAX_POINTER].rpartition("/")[0]
        return _cut(Fault(above, f"a member below, whose name is too long to repeat: {fault.detail}"))
    return fault if len(fault.detail) <= MAX_POINTER else Fault(fault.pointer, fault.detail[:MAX_POINTER] + " ...")


class TooMany(Refusal):
    """Asked too often; `Retry-After` says when to come back."""

    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(Refusal):
    """AWS takes no more of us at this moment; `Retry-After` says when to come back."""

    status = 503

    def __init__(self, retry_after: int = 5) -> None:
        super().__init__(
            "Too much is asked of the service at this moment. Ask again in a few seconds; a request that was sent with "
            "an Idempotency-Key goes on where it stopped.",
            headers={"Retry-After": str(retry_after)},
        )


def invalid(pointer: str, detail: str) -> Invalid:
    """The refusal of a body with a single fault."""
    return Invalid([Fault(pointer, detail)])

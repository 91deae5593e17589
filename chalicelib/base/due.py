"""What is due: the mark on a row by which the sweep finds it, and the kinds of things that there are to do.

A row carries `due_kind` and `due_at`, over which the table's index `due` lies, from the moment that something is to
follow until it was done: whatever is lost on the way is found again. The mark is nobody's state: what a row is, its
other attributes say.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Literal

from chalicelib.aws.store import Attr, Item
from chalicelib.base import instants, telemetry
from chalicelib.base.services import Services

Kind = Literal[
    "run",  # a run has lost its message or its worker, unless it still waits for a slot
    "announce",  # a run has ended, and its receivers are to hear of it
    "canceled",  # a run was canceled, and its slot is to be given back
    "expiry",  # a run's file has served its time
    "import",  # an import has lost its message or its worker, was never started, or has something to erase
    "purge",  # files may hold what was purged
    "lake",  # a domain's lake has something to compact or to erase, or has lost its worker
    "schedule",  # EventBridge has a schedule to learn, or should have fired one
    "delivery",  # a delivery is to be attempted
]
Step = Callable[[Services, Item], None]

# Of these one step carries out all that a domain has.
TOGETHER: frozenset[Kind] = frozenset({"purge"})
# What a row loses when nothing is due any more.
MARKS = ("due_kind", "due_at")
# How long a row is left alone after its step has failed: twice as long each time.
FIRST, LONGEST = timedelta(minutes=1), timedelta(hours=6)


def at(kind: Kind, when: datetime | str) -> dict[str, str]:
    """The attributes that make a row due, at an instant or its text."""
    return {"due_kind": kind, "due_at": when if isinstance(when, str) else instants.text(when)}


def move(services: Services, found: Item, by: timedelta) -> bool:
    """Make a row due so much later than now; False when somebody has moved it since it was read."""
    later = {"due_at": instants.text(services.now() + by)}
    unmoved = Attr("due_at").eq(found["due_at"])
    return services.store.update((found["pk"], found["sk"]), later, when=unmoved) is not None


def walk(services: Services, steps: Mapping[Kind, Step], at_a_time: int) -> None:
    """Bring every row that is due one step on, at most so many of a kind; one that fails is put off, and stops none."""
    until = instants.text(services.now())
    for kind, step in steps.items():
        try:
            found = services.store.due(kind, until, at_a_time)
        except Exception as error:  # noqa: BLE001 (the other kinds are not to wait for this one)
            _tell(kind, error)
            continue
        for row in _one_a_domain(found) if kind in TOGETHER else found:
            _carry_out(services, kind, step, row)


def _one_a_domain(rows: Iterable[Item]) -> Iterable[Item]:
    return {row["domain"]: row for row in rows}.values()


def _carry_out(services: Services, kind: Kind, step: Step, row: Item) -> None:
    try:
        step(services, row)
        if row.get("due_failures"):
            services.store.update((row["pk"], row["sk"]), remove=("due_failures",), when=Attr("pk").exists())
    except Exception as error:  # noqa: BLE001 (what fails each time must not stop what comes after it)
        _tell(kind, error)
        try:
            _put_off(services, row)
        except Exception as again:  # noqa: BLE001 (then it is first again in a minute)
            _tell(kind, again)


def _put_off(services: Services, row: Item) -> None:
    failures = int(row.get("due_failures", 0))
    later = instants.text(services.now() + min(FIRST * 2**failures, LONGEST))
    unmoved = Attr("due_at").eq(row["due_at"])
    services.store.update((row["pk"], row["sk"]), {"due_at": later, "due_failures": failures + 1}, when=unmoved)


def _tell(kind: Kind, error: Exception) -> None:
    telemetry.alarm("sweep step failed", phase=kind, **telemetry.failure(error))
    telemetry.count("SweepFailures")

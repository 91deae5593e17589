"""The choice of columns in the participants catalogue's three tabs, as a request makes it."""

from collections.abc import Sequence

from chalicelib.base.errors import Fault
from chalicelib.base.table import Column
from chalicelib.datasets import participants, reading
from chalicelib.datasets.participants import Names, Selection

MAX_COLUMNS = 3000


def check(
    value: object, profile: Sequence[Column], pointer: str, faults: list[Fault], default: Selection
) -> Selection | None:
    """The choice `{"system", "profile", "participation"}`, each "all" or names; a tab not given is as in `default`.

    `profile` is the domain's catalogue. None when something is wrong with it, which goes to the faults.
    """
    if value is None:
        return default
    given = reading.members(value, pointer, faults, optional=("system", "profile", "participation"))
    if given is None:
        return None
    before = len(faults)

    def tab(name: str, columns: Sequence[Column], otherwise: Names) -> Names:
        known = frozenset(column.name for column in columns)
        return _names(given[name], known, reading.at(pointer, name), faults) if name in given else otherwise

    chosen = Selection(
        tab("system", participants.SYSTEM, default.system),
        tab("profile", profile, default.profile),
        tab("participation", participants.PARTICIPATION, default.participation),
    )
    if len(faults) == before and not participants.selected(profile, chosen):
        faults.append(Fault(pointer, "empty", "must choose at least one column"))
    return chosen if len(faults) == before else None


def _names(value: object, known: frozenset[str], pointer: str, faults: list[Fault]) -> Names:
    if value == "all":
        return "all"
    if not isinstance(value, list):
        faults.append(
            Fault(pointer, "wrong_type", 'must be "all" or a list of names of columns', {"expected": ["all", "list"]})
        )
        return ()
    names: dict[str, None] = {}
    for n, name in enumerate(reading.items(value, pointer, faults, MAX_COLUMNS, 0)):
        if not isinstance(name, str) or name not in known:
            faults.append(Fault(reading.at(pointer, n), "not_found", "is not a column of this tab"))
        elif name in names:
            faults.append(Fault(reading.at(pointer, n), "duplicate", "is there already"))
        else:
            names[name] = None
    return tuple(names)

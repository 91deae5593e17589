"""Profile attributes: what a domain defines about its participants, and what a value of each may be."""

import re
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from chalicelib.accounts.row import Domain, counted
from chalicelib.aws.store import Attr, Write
from chalicelib.base import instants, patterns
from chalicelib.base.catalog import Attribute, AttributeType, Catalog
from chalicelib.base.errors import Conflict, Fault, NotFound, conflict
from chalicelib.base.services import Services
from chalicelib.base.table import Choice
from chalicelib.base.tenant import Tenant
from chalicelib.datasets import participants
from chalicelib.intake.row import Definition, choice_members
from chalicelib.web.http import ADMIN, ANY, Answer, Body, Call, Routes, page, page_cursor, page_limit, validated

ROUTES = Routes("Attributes")
MAX_ATTRIBUTES = 2000
MAX_CHOICES = 1000
# What one request defines, and what one transaction writes beside the version.
MAX_AT_ONCE = 500
AT_ONCE = 99
# An item of the table takes 400 KB; a hundred labels of the longest kind would be past it.
MAX_CHOICES_BYTES = 200_000
# An answer past 6 MB is refused by Lambda; the JSON of one page leaves room for its escapes on the way.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
RESERVED = {column.name.lower() for column in (*participants.SYSTEM, *participants.PARTICIPATION)}
Text = Annotated[str, StringConstraints(pattern=patterns.NO_NUL)]


class ChoiceBody(Body):
    """One choice of a choice attribute."""

    code: Annotated[int, Field(ge=-(2**31), lt=2**31)]
    """What is stored and written with `values: codes`."""
    label: Annotated[Text, StringConstraints(min_length=1, max_length=1000)]
    """What people read."""
    missing: bool = False
    """Whether it is a user-missing value: refused, not asked."""


class AttributeBody(Body):
    """What `PUT /v1/attributes/{name}` takes."""

    label: Annotated[Text, StringConstraints(min_length=1, max_length=2000)] | None = None
    """What people read; by default the name."""
    type: AttributeType
    """What its values are; it does not change once there is data."""
    choices: Annotated[list[ChoiceBody], Field(max_length=MAX_CHOICES)] = []
    """The choices of a choice attribute."""
    multiple: bool = False
    """Whether a participant may have several choices."""


class NamedAttribute(AttributeBody):
    """One of many attributes."""

    name: str
    """The column's name."""


class AttributesBody(Body):
    """What `PUT /v1/attributes` takes."""

    attributes: Annotated[list[NamedAttribute], Field(max_length=MAX_AT_ONCE)]
    """The attributes, judged as a whole."""


def catalog(services: Services, domain: str) -> Catalog:
    """The domain's attributes as they are now; read again only when their version has changed."""
    version = _version(services, domain)
    while True:
        kept = services.memory.get(("catalog", domain))
        if isinstance(kept, Catalog) and kept.version == version:
            return kept
        found = (row.attribute for row in Tenant(services, domain).query(Definition, Definition.ALL))
        ordered = sorted(found, key=lambda attribute: attribute.name)
        # What was read under two versions belongs to neither: a row would be stamped with the earlier one, and its
        # values would be taken for those of an attribute that had the name before.
        was, version = version, _version(services, domain)
        if was == version:
            services.memory["catalog", domain] = Catalog(version, {attribute.name: attribute for attribute in ordered})


def _version(services: Services, domain: str) -> int:
    found = Tenant(services, domain).get(Domain, Domain.PLACE)
    return found.attributes_version if found else 0


def mark_data(services: Services, domain: str, known: Catalog, names: set[str]) -> bool:
    """Note, before a batch is written, that the attributes have data, so that their type can change no more; False
    when one of them is no longer what the catalogue says."""
    tenant = Tenant(services, domain)
    fresh = [known.attributes[name] for name in sorted(names) if not known.attributes[name].has_data]
    for start in range(0, len(fresh), 100):
        writes = [
            tenant.changing(
                Definition.place(attribute.name),
                {"has_data": True},
                when=Attr("defined_in").eq(attribute.defined_in) & Attr("name").eq(attribute.name),
            )
            for attribute in fresh[start : start + 100]
        ]
        if tenant.transact(*writes) is not None:
            services.memory.pop(("catalog", domain), None)
            return False
    if fresh:
        # Marking changes no version, so the kept catalogue must be read again to know of it.
        services.memory.pop(("catalog", domain), None)
    return True


def shown(attribute: Attribute) -> dict[str, Any]:
    """An attribute as callers see it."""
    return {
        "name": attribute.name,
        "label": attribute.label,
        "type": attribute.type,
        "choices": [choice_members(choice) for choice in attribute.choices],
        "multiple": attribute.multiple,
    }


@ROUTES.add(
    "GET", "/v1/attributes", ANY, "List profile attributes", answer="Page[intake.Attribute]", query=("limit", "cursor")
)
def list_attributes(call: Call) -> Answer:
    """The domain's attributes by name; fewer than `limit` where more would be past what an answer may hold."""
    limit, after = page_limit(call), page_cursor(call)
    known = catalog(call.services, call.domain).attributes
    names = [name for name in known if after is None or name > after]
    return page(
        ((name, shown(known[name])) for name in names[:limit]), names[limit - 1] if limit < len(names) else None
    )


def _attribute_asked(call: Call) -> Attribute:
    attribute = catalog(call.services, call.domain).attributes.get(call.path["name"])
    if attribute is None:
        raise NotFound
    return attribute


@ROUTES.add(
    "GET", "/v1/attributes/{name}", ANY, "Read a profile attribute", answer="intake.Attribute", find=_attribute_asked
)
def read_attribute(call: Call) -> Answer:
    """One attribute, by its exact name."""
    return Answer(200, shown(call.found))


def _read(call: Call, value: Any) -> AttributeBody:
    def further(given: dict[str, Any]) -> list[Fault]:
        none: dict[str, Any] = {} if "choices" in value else {"choices": []}
        return [*_name_faults(call.path["name"]), *_faults(none | given)]

    return validated(AttributeBody, value, further)


@ROUTES.add(
    "PUT",
    "/v1/attributes/{name}",
    ADMIN,
    "Define a profile attribute",
    answer="intake.Attribute",
    more={201: "intake.Attribute"},
    refuses=(409,),
    body=AttributeBody,
    read=_read,
)
def define_attribute(call: Call) -> Answer:
    """Define the attribute, or replace its definition: 201 when it is new."""
    given = NamedAttribute(name=call.path["name"], **dict(call.body))
    (attribute,), is_new = _define(call, [given])
    return Answer(201 if is_new else 200, shown(attribute))


def _read_many(_: Call, value: Any) -> AttributesBody:
    found = value.get("attributes") if isinstance(value, dict) else None
    members = found[:MAX_AT_ONCE] if isinstance(found, list) else []
    faults: list[Fault] = []
    seen: set[str] = set()
    for n, member in enumerate(members):
        if not isinstance(member, dict):
            continue
        faults += [fault.below(f"/attributes/{n}") for fault in _member_faults(member)]
        name = str(member.get("name")).lower()
        if "name" in member and name in seen:
            faults.append(Fault(f"/attributes/{n}/name", "duplicate", "is the name of an earlier attribute"))
        seen.add(name)
    return validated(AttributesBody, value, lambda _: faults)


def _member_faults(member: Mapping[str, Any]) -> list[Fault]:
    """What the members of one of many attributes say against each other, where their types are right."""
    name = member.get("name")
    faults = _name_faults(name) if isinstance(name, str) else []
    try:
        made = NamedAttribute.model_validate(member)
    except ValidationError:
        return faults
    return [*faults, *_faults(made.model_dump())]


@ROUTES.add(
    "PUT",
    "/v1/attributes",
    ADMIN,
    "Define many profile attributes",
    answer="intake.Defined",
    refuses=(409,),
    body=AttributesBody,
    read=_read_many,
)
def define_attributes(call: Call) -> Answer:
    """Define the attributes, or replace their definitions: all of them, or none where one is refused."""
    made, _ = _define(call, call.body.attributes)
    return Answer(200, {"defined": len(made)})


def _define(call: Call, given: Sequence[NamedAttribute]) -> tuple[list[Attribute], bool]:
    """Define them; what was made, and whether all are new. Reads those alone, however many the domain has."""
    for _ in range(5):
        version, count = _state(call.tenant)
        before = _defined_before(call.tenant, given)
        new = sum(1 for one in given if one.name.lower() not in before)
        if count + new > MAX_ATTRIBUTES:
            raise Conflict(f"A domain has at most {MAX_ATTRIBUTES} profile attributes; this one has {count}.")
        _check_before(given, before, many=len(given) > 1)
        made = [_defined(one, before.get(one.name.lower()), version + 1) for one in given]
        if _write(call.tenant, made, before, (version, count)):
            return made, new == len(given)
    raise Conflict("The attributes are being changed by others at this moment; ask again.")


def _state(tenant: Tenant) -> tuple[int, int]:
    """The version of the domain's attributes, and how many there are."""
    found = tenant.found(Domain, Domain.PLACE)
    if found.attributes_count is None:
        return found.attributes_version, len(catalog(tenant.services, tenant.domain).attributes)
    return found.attributes_version, found.attributes_count


def _defined_before(tenant: Tenant, given: Sequence[NamedAttribute]) -> dict[str, Attribute]:
    """The attributes that have these names already, by the lower case of their names."""
    found = tenant.get_many(Definition, [Definition.place(one.name) for one in given])
    return {row.attribute.name.lower(): row.attribute for row in found if row is not None}


@ROUTES.add(
    "DELETE",
    "/v1/attributes/{name}",
    ADMIN,
    "Delete a profile attribute",
    answer=None,
    refuses=(409,),
    find=_attribute_asked,
    status=204,
)
def delete_attribute(call: Call) -> Answer:
    """The attribute and its values leave every later export."""
    for _ in range(5):
        known = catalog(call.services, call.domain)
        attribute = known.attributes.get(call.path["name"])
        if attribute is None:
            raise NotFound
        gone = call.tenant.deleting(Definition.place(attribute.name))
        if _versioned(call.tenant, (known.version, len(known.attributes) - 1), [gone]):
            return Answer(204)
    raise Conflict("The attributes are being changed by others at this moment; ask again.")


def _name_faults(name: str) -> list[Fault]:
    if not NAME.fullmatch(name):
        return [
            Fault("/name", "malformed", "a name is an ASCII letter, then letters, digits or _, 64 characters at most")
        ]
    if name.lower() in RESERVED:
        return [Fault("/name", "taken", "is the name of a system or participation column")]
    return []


def _faults(given: Mapping[str, Any]) -> list[Fault]:
    """What its members say against each other."""
    if given.get("type") != "choice":
        alone = [
            ("choices", "only a choice attribute has choices"),
            ("multiple", "only a choice attribute can be multiple"),
        ]
        refused = [(name, detail) for name, detail in alone if given.get(name) and "type" in given]
        return [Fault(f"/{name}", "not_available", detail, {"type": given["type"]}) for name, detail in refused]
    if "choices" not in given:
        return []
    if not given["choices"]:
        params = {"min": 1, "max": MAX_CHOICES}
        return [Fault("/choices", "empty", f"a choice attribute has 1 to {MAX_CHOICES} choices", params)]
    return _choice_faults(given["choices"], given.get("multiple", False))


def _choice_faults(choices: Sequence[Mapping[str, Any] | None], multiple: bool) -> list[Fault]:
    faults = []
    if sum(len(choice.get("label", "").encode()) for choice in choices if choice) > MAX_CHOICES_BYTES:
        detail = f"the labels are past {MAX_CHOICES_BYTES} bytes together"
        faults.append(Fault("/choices", "too_large", detail, {"max": MAX_CHOICES_BYTES}))
    codes = {str(choice["code"]): n for n, choice in enumerate(choices) if choice and "code" in choice}
    seen: dict[str, set[Any]] = {"code": set(), "label": set()}
    for n, choice in enumerate(choices):
        given = choice or {}
        for name, earlier in seen.items():
            if name in given and given[name] in earlier:
                faults.append(Fault(f"/choices/{n}/{name}", "duplicate", f"is the {name} of an earlier choice"))
            earlier.add(given.get(name))
        if codes.get(given.get("label", ""), n) != n:
            faults.append(Fault(f"/choices/{n}/label", "conflict", "is the code of another choice"))
        if multiple and ";" in given.get("label", ""):
            faults.append(Fault(f"/choices/{n}/label", "malformed", "a label of a multiple choice has no ;"))
    return faults


def _check_before(given: Sequence[NamedAttribute], before: Mapping[str, Attribute], *, many: bool) -> None:
    """Conflict where one of them cannot take the place of what has its name."""
    for n, one in enumerate(given):
        earlier = before.get(one.name.lower())
        at = f"/attributes/{n}" if many else ""
        if earlier is not None and earlier.name != one.name:
            detail = f"The attribute {earlier.name} has this name but for its case."
            raise conflict(detail, f"{at}/name", "taken", attribute=earlier.name)
        if earlier is not None and earlier.has_data and not _is_same(earlier, one):
            detail = f"{one.name} has data as {_kind(earlier.type, earlier.multiple)}; its type cannot change."
            member = "type" if earlier.type != one.type else "multiple"
            raise conflict(detail, f"{at}/{member}", type=earlier.type, multiple=earlier.multiple)


def _is_same(before: Attribute, body: AttributeBody) -> bool:
    return (before.type, before.multiple) == (body.type, body.multiple)


def _defined(body: NamedAttribute, before: Attribute | None, version: int) -> Attribute:
    return Attribute(
        name=body.name,
        label=body.label or body.name,
        type=body.type,
        choices=tuple(Choice(choice.code, choice.label, choice.missing) for choice in body.choices),
        multiple=body.multiple,
        has_data=before.has_data if before else False,
        defined_in=before.defined_in if before and _is_same(before, body) else version,
    )


def _kind(kind: str, multiple: bool) -> str:
    return f"multiple {kind}" if multiple else kind


def _write(tenant: Tenant, made: Sequence[Attribute], before: Mapping[str, Attribute], state: tuple[int, int]) -> bool:
    """Write the definitions, as many at a time as a transaction takes; False where they have changed meanwhile."""
    version, count = state
    now = instants.text(tenant.services.now())
    for some in batched(made, AT_ONCE, strict=False):
        count += sum(1 for attribute in some if attribute.name.lower() not in before)
        writes = [_put(tenant, Definition(attribute, now), before.get(attribute.name.lower())) for attribute in some]
        if not _versioned(tenant, (version, count), writes):
            return False
        version += 1
    return True


def _put(tenant: Tenant, row: Definition, before: Attribute | None) -> Write:
    # A batch may mark the attribute as having data at this very moment; then the change is judged anew.
    unmarked = Attr("has_data").eq(before.has_data) if before else Attr("pk").not_exists()
    return tenant.putting(row, when=unmarked)


def _versioned(tenant: Tenant, state: tuple[int, int], writes: Sequence[Write]) -> bool:
    """Write under the next version, `state` being the one that is left and how many attributes there will be."""
    version, count = state
    changes = {"attributes_version": version + 1, "attributes_count": count}
    bump = tenant.changing(Domain.PLACE, changes, when=counted("attributes_version", version))
    done = tenant.transact(*writes, bump) is None
    tenant.services.memory.pop(("catalog", tenant.domain), None)
    return done

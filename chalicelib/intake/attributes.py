"""Profile attributes: what a domain defines about its participants, and what a value of each may be."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints

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
    name, body = call.path["name"], call.body
    for _ in range(5):
        known = catalog(call.services, call.domain)
        before = _before(known, name)
        if before is None and len(known.attributes) >= MAX_ATTRIBUTES:
            raise Conflict(f"The domain has {MAX_ATTRIBUTES} profile attributes, which is the most there may be.")
        attribute = _defined(name, body, before, known.version + 1)
        if _write(call.tenant, attribute, before, known.version):
            return Answer(200 if before else 201, shown(attribute))
    raise Conflict("The attributes are being changed by others at this moment; ask again.")


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
        if _versioned(call.tenant, known.version, call.tenant.deleting(Definition.place(attribute.name))):
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
    seen: dict[str, set[Any]] = {"code": set(), "label": set()}
    for n, choice in enumerate(choices):
        given = choice or {}
        for name, earlier in seen.items():
            if name in given and given[name] in earlier:
                faults.append(Fault(f"/choices/{n}/{name}", "duplicate", f"is the {name} of an earlier choice"))
            earlier.add(given.get(name))
        if multiple and ";" in given.get("label", ""):
            faults.append(Fault(f"/choices/{n}/label", "malformed", "a label of a multiple choice has no ;"))
    return faults


def _before(known: Catalog, name: str) -> Attribute | None:
    for attribute in known.attributes.values():
        if attribute.name == name:
            return attribute
        if attribute.name.lower() == name.lower():
            detail = f"The attribute {attribute.name} has this name but for its case."
            raise conflict(detail, "/name", "taken", attribute=attribute.name)
    return None


def _defined(name: str, body: AttributeBody, before: Attribute | None, version: int) -> Attribute:
    same = before is not None and (before.type, before.multiple) == (body.type, body.multiple)
    if before is not None and before.has_data and not same:
        detail = f"{name} has data as {_kind(before.type, before.multiple)}; its type cannot change."
        at = "/type" if before.type != body.type else "/multiple"
        raise conflict(detail, at, type=before.type, multiple=before.multiple)
    return Attribute(
        name=name,
        label=body.label or name,
        type=body.type,
        choices=tuple(Choice(choice.code, choice.label, choice.missing) for choice in body.choices),
        multiple=body.multiple,
        has_data=before.has_data if before else False,
        defined_in=before.defined_in if before and same else version,
    )


def _kind(kind: str, multiple: bool) -> str:
    return f"multiple {kind}" if multiple else kind


def _write(tenant: Tenant, attribute: Attribute, before: Attribute | None, version: int) -> bool:
    row = Definition(attribute, instants.text(tenant.services.now()))
    # A batch may mark the attribute as having data at this very moment; then the change is judged anew.
    unmarked = Attr("has_data").eq(before.has_data) if before else Attr("pk").not_exists()
    return _versioned(tenant, version, tenant.putting(row, when=unmarked))


def _versioned(tenant: Tenant, version: int, write: Write) -> bool:
    current = counted("attributes_version", version)
    next_version = tenant.changing(Domain.PLACE, {"attributes_version": version + 1}, when=current)
    done = tenant.transact(write, next_version) is None
    tenant.services.memory.pop(("catalog", tenant.domain), None)
    return done

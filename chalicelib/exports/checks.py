"""What is asked of an export: judged whole, with every fault by its pointer."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from chalicelib import kinds
from chalicelib.accounts.domains import Email
from chalicelib.base import patterns, zones
from chalicelib.base.catalog import Catalog
from chalicelib.base.errors import Fault, Faulty, Invalid, faulty
from chalicelib.base.services import Services
from chalicelib.base.shapes import Described
from chalicelib.exports import cron
from chalicelib.files.formats import FORMATS, FormatName
from chalicelib.runs.config import EMPTY, Config
from chalicelib.web.complaints import faults_of, sound
from chalicelib.web.http import Body
from chalicelib.webhooks import routes as webhooks
from chalicelib.webhooks.call import refusal_now

MAX_CONFIG_BYTES = 150_000
MEMBERS = ("title", "description", "dataset", "format", "format_options", "timezone", "deliver", "schedule")

# Letters and symbols by their category, but drawn as nothing: Hangul fillers, the braille blank.
BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def _seen(title: str) -> str:
    # Separators, controls, zero-width and other format characters, and marks that have nothing to stand on.
    if all(character in BLANKS or unicodedata.category(character)[0] in "ZCM" for character in title):
        raise faulty("empty", "must hold something to see")
    return title


Title = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=patterns.ONE_LINE), AfterValidator(_seen)
]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=patterns.NO_NUL)]


Dataset = Annotated[dict[str, Any], Described("datasets.Dataset")]
Options = Annotated[dict[str, Any], Described("runs.Options")]


class Deliver(Body):
    """Where a finished run is announced."""

    webhook_ids: Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=10)] = []
    """Saved endpoints."""
    webhook_url: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = None
    """One more, signed with the domain's secret."""
    emails: Annotated[list[Email], Field(max_length=20)] = []
    """Addresses that get a mail."""


class Schedule(Body):
    """When an export runs by itself."""

    cron: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """Five fields: minute, hour, day of the month, month, day of the week; once an hour at most."""
    timezone: str = "UTC"
    """On whose wall clock: the name of an IANA zone."""
    enabled: bool = True
    """Whether it runs."""


class ExportBody(Body):
    """What `POST /v1/exports` takes; the dataset and the options are judged by their kind and format."""

    title: Title
    """What people call it, unique in the domain."""
    description: Description = ""
    """What it is for."""
    dataset: Dataset
    """What is exported."""
    format: FormatName = "csv"
    """How the file is written."""
    format_options: Options = {}
    """How it is written in particular; an option that means nothing for the format is refused."""
    timezone: str = "UTC"
    """On whose wall clock: the name of an IANA zone."""
    deliver: Deliver | None = None
    """Where the end of a run is announced."""
    schedule: Schedule | None = None
    """When it runs by itself."""
    run: bool = False
    """Whether it runs at once."""


class ExportPatch(Body):
    """What `PATCH /v1/exports/{id}` takes: the members to replace, whole."""

    title: Title | None = None
    """What people call it, unique in the domain."""
    description: Description | None = None
    """What it is for."""
    dataset: Dataset | None = None
    """What is exported."""
    format: FormatName | None = None
    """How the file is written."""
    format_options: Options | None = None
    """How it is written in particular; an option that means nothing for the format is refused."""
    timezone: str | None = None
    """On whose wall clock: the name of an IANA zone."""
    deliver: Deliver | None = None
    """Where the end of a run is announced."""
    schedule: Schedule | None = None
    """When it runs by itself."""


def judged(value: Any, model: type[BaseModel], catalog: Catalog, services: Services, domain: str) -> Config:
    """The configuration that the request's value gives, complete; Invalid with every fault at once."""
    faults: list[Fault] = []
    try:
        model.model_validate(value)
    except ValidationError as error:
        faults += faults_of(error, value)
    if not isinstance(value, dict):
        raise Invalid(faults)
    given = {**EMPTY, **value}
    config = {name: given[name] for name in MEMBERS if name in given}
    good = sound(config, faults)
    faults += kinds.check(good["dataset"], catalog, services, domain) if "dataset" in good else []
    faults += _option_faults(good)
    faults += _zone_faults(good)
    faults += _schedule_faults(good.get("schedule"))
    faults += deliver_faults(good.get("deliver"), services, domain)
    text = json.dumps(config, ensure_ascii=False)
    if not faults and len(text.encode()) > MAX_CONFIG_BYTES:
        faults.append(
            Fault("", "too_large", f"the configuration is past {MAX_CONFIG_BYTES} bytes", {"max": MAX_CONFIG_BYTES})
        )
    if faults:
        raise Invalid(list(dict.fromkeys(faults)))
    return Config(text)


def _option_faults(config: Mapping[str, Any]) -> list[Fault]:
    if "format" not in config or "format_options" not in config:
        return []
    try:
        FORMATS[config["format"]].options.model_validate(config["format_options"])
    except ValidationError as error:
        return faults_of(error, config["format_options"], "/format_options")
    return []


def _zone_faults(config: Mapping[str, Any]) -> list[Fault]:
    zone = config.get("timezone")
    if zone is not None and not zones.is_zone(zone):
        return [Fault("/timezone", "not_one_of", "must be the name of an IANA time zone, such as America/Vancouver")]
    return []


def _schedule_faults(schedule: Any) -> list[Fault]:
    if schedule is None:
        return []
    faults: list[Fault] = []
    zone = schedule.get("timezone", "UTC")
    if not zones.is_zone(zone):
        detail = "must be the name of an IANA time zone, such as America/Vancouver"
        faults.append(Fault("/schedule/timezone", "not_one_of", detail))
    try:
        if "cron" in schedule and cron.parse(schedule["cron"]).fires_more_than_hourly:
            detail = "fires more than once an hour: the minute must be a single number"
            faults.append(Fault("/schedule/cron", "out_of_range", detail, {"field": "minute"}))
    except Faulty as error:
        faults += error.at("/schedule/cron")
    return faults


def deliver_faults(deliver: Any, services: Services, domain: str) -> list[Fault]:
    """Every fault of a `deliver` that its model lets through; what the model does not is left out."""
    if not deliver:
        return []
    faults = []
    # What the model has found fault with is None.
    ids: dict[int, str] = {n: id_ for n, id_ in enumerate(deliver.get("webhook_ids", [])) if id_ is not None}
    found = services.store.get_many([webhooks.place(domain, id_) for id_ in ids.values()])
    for (n, id_), webhook in zip(ids.items(), found, strict=True):
        if webhook is None:
            faults.append(Fault(f"/deliver/webhook_ids/{n}", "not_found", "is not a webhook of this domain"))
        elif id_ in deliver["webhook_ids"][:n]:
            faults.append(Fault(f"/deliver/webhook_ids/{n}", "duplicate", "is there already"))
    if deliver.get("webhook_url"):
        refusal = refusal_now(deliver["webhook_url"], allow_local=services.settings.local)
        faults += [refusal.below("/deliver/webhook_url")] if refusal else []
    if deliver.get("emails") and not services.settings.sender:
        faults.append(Fault("/deliver/emails", "not_available", "cannot be sent: this deployment sends no mail"))
    return faults

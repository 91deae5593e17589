"""Idempotency-Key: the same key and body give the same answer without a second effect, also after a crash.

A record is made before the effect and holds the seed of every identifier that the request makes. An attempt that
died is carried out again with that seed, so that it finds what the first one already made. Once the effect is done the
record says what was answered, but for secrets, which are derived from the seed again: a repeat reads, and writes
nothing, whatever has become of the thing since.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from chalicelib.aws.store import Attr, Item
from chalicelib.base.errors import Conflict, Malformed, Refusal, invalid
from chalicelib.base.ids import Seed
from chalicelib.base.instants import parse, text
from chalicelib.base.services import Services
from chalicelib.web.http import Answer, Call, Endpoint

KEPT = timedelta(days=7)
# Longer than the gateway lets any request take: past it, the first attempt is dead.
RUNNING = timedelta(seconds=60)
# An item of the table takes 400 KB. A larger answer lies beside its record, in parts of so many bytes.
MAX_KEPT = 350_000
# What tells of the effect; the others, such as Preference-Applied, tell of the one request.
KEPT_HEADERS = ("Location",)


def request_key(headers: Mapping[str, str]) -> str | None:
    """The request's Idempotency-Key, or None; Malformed when it is no key of 1 to 255 printable characters."""
    key = headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?", key):
        raise Malformed("Idempotency-Key takes 1 to 255 printable ASCII characters.")
    return key


def fingerprint(method: str, path: str, value: Any) -> str:
    """What must be the same for a repeated key: the method, the path and the body's meaning."""
    canonical = json.dumps([method, path, value], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def perform(endpoint: Endpoint, call: Call, key: str, request_fingerprint: str) -> Answer:
    """The endpoint's answer: the one given before for this key, or that of carrying it out now."""
    services = call.services
    place = (f"idempotency/{call.domain}/{call.principal.key_id}", hashlib.sha256(key.encode()).hexdigest())
    record = _claimed(services, place, request_fingerprint, call.seed)
    seeded = replace(call, seed=Seed(int(record["seed_ms"]), bytes.fromhex(record["seed_entropy"])))
    if "answer" in record:
        return _given(endpoint, seeded, record)
    try:
        answer = endpoint.act(seeded)
    except Refusal:
        # A refusal had no effect: the key is free for the corrected request.
        services.store.delete(*place)
        raise
    except Exception:
        services.store.update(place, {"running_until": text(services.now())})
        raise
    _keep(seeded, record, answer, endpoint)
    return answer


def _claimed(services: Services, place: tuple[str, str], asked: str, fresh: Seed) -> Item:
    """The request's record: one that is ours to carry out, or one that has its answer."""
    now = services.now()
    record = {
        "pk": place[0],
        "sk": place[1],
        "fingerprint": asked,
        "seed_ms": fresh.milliseconds,
        "seed_entropy": fresh.entropy.hex(),
        "running_until": text(now + RUNNING),
        "expires": int((now + KEPT).timestamp()),
    }
    if services.store.put(record, when=Attr("pk").not_exists() | Attr("expires").lte(int(now.timestamp()))):
        return record
    found = services.store.get(*place)
    if found is None or found["seed_entropy"] == record["seed_entropy"]:
        return found or record
    return _taken_up(services, place, asked, found, now)


def _taken_up(services: Services, place: tuple[str, str], asked: str, found: Item, now: datetime) -> Item:
    if found["fingerprint"] != asked:
        raise invalid("", "conflict", "this Idempotency-Key was used before with another request")
    if "answer" in found:
        return found
    if "status" not in found and parse(found["running_until"]) > now:
        raise Conflict("The first request with this Idempotency-Key still runs.")
    taken = services.store.update(
        place,
        {"running_until": text(now + RUNNING)},
        when=Attr("running_until").eq(found["running_until"]) & Attr("answer").not_exists(),
    )
    if taken is None:
        raise Conflict("The first request with this Idempotency-Key still runs.")
    return taken


def _keep(call: Call, record: Item, answer: Answer, endpoint: Endpoint) -> None:
    """Set down that the effect is done, and what was answered."""
    store, place = call.services.store, (record["pk"], record["sk"])
    secret = endpoint.secret(call, answer.body) if endpoint.secret else {}
    body = {name: value for name, value in answer.body.items() if name not in secret} if secret else answer.body
    kept = json.dumps(body, ensure_ascii=False)
    changes: dict[str, Any] = {"status": answer.status, "running_until": text(call.services.now())}
    changes["headers"] = json.dumps({name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers})
    if len(kept.encode()) > MAX_KEPT:
        changes["parts"] = _put_apart(call.services, record, kept.encode())
        kept = ""
    changes["answer"] = kept
    # Who was overtaken has the same answer to give, and leaves it to the other to set it down.
    store.update(place, changes, when=Attr("running_until").eq(record["running_until"]))


def _put_apart(services: Services, record: Item, kept: bytes) -> list[str]:
    """Store an answer's bytes beside its record; the sort keys of the parts, which no other attempt writes."""
    places: list[str] = []
    for start in range(0, len(kept), MAX_KEPT):
        sk = f"{record['sk']}/{record['running_until']}/{len(places)}"
        part = {"pk": record["pk"], "sk": sk, "expires": record["expires"], "part": kept[start : start + MAX_KEPT]}
        services.store.put(part)
        places.append(sk)
    return places


def _given(endpoint: Endpoint, call: Call, record: Item) -> Answer:
    """What was answered before: nothing is written, and nothing but the record is read."""
    kept = record["answer"].encode()
    if "parts" in record:
        found = call.services.store.get_many([(record["pk"], sk) for sk in record["parts"]])
        kept = b"".join(part["part"] for part in found if part is not None)
    body = json.loads(kept)
    if endpoint.secret:
        body = {**body, **endpoint.secret(call, body)}
    return Answer(int(record["status"]), body, json.loads(record["headers"]))

"""The stored rows of accounts: a domain, an API key, that the domain has it. How they may change: `base.row`."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from chalicelib.aws.store import Attr, ConditionBase, Item
from chalicelib.base import instants
from chalicelib.base.row import Key, Place, attributes, members
from chalicelib.web.http import Role


@dataclass(frozen=True, slots=True)
class Domain:
    """A tenant. The versions count the changes of its attributes and the revocations of its keys; how many attributes
    it has is known once they were changed."""

    id: str
    name: str
    contact_email: str | None
    webhook_secret: str
    created_at: str
    attributes_version: int = 0
    keys_version: int = 0
    attributes_count: int | None = None

    PLACE = Place("domain", "domain")

    @property
    def where(self) -> Place:
        return self.PLACE

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item)

    def item(self) -> Item:
        return attributes(self)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, by the hash of its token. It lies below no domain: who calls is found by it."""

    id: str
    domain: str
    name: str
    role: Role
    hash: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    @staticmethod
    def place(key_id: str) -> Key:
        """Where a key's row lies in the table."""
        return f"key/{key_id}", "key"

    @classmethod
    def read(cls, item: Item) -> Self:
        return members(cls, item)

    def item(self) -> Item:
        return attributes(self)

    def is_live(self, now: datetime) -> bool:
        """Whether it opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or instants.parse(self.expires_at) > now)

    def is_of(self, token: str) -> bool:
        """Whether the token is this key's."""
        return hmac.compare_digest(self.hash, hashed(token))


@dataclass(frozen=True, slots=True)
class KeyOfDomain:
    """That a domain has a key: by these rows its keys are listed."""

    id: str

    ALL = Place("domain", "key/")

    @property
    def where(self) -> Place:
        return Place("domain", f"key/{self.id}")

    @classmethod
    def read(cls, item: Item) -> Self:
        return cls(item["sk"].removeprefix(cls.ALL.sk))

    def item(self) -> Item:
        return {}


def counted(version: str, number: int) -> ConditionBase:
    """The condition that a version of a domain's row still has this number."""
    same = Attr(version).eq(number)
    return same if number else same | Attr(version).not_exists()


def hashed(token: str) -> str:
    """What is stored of a token. It carries 256 random bits, so a fast hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).hexdigest()

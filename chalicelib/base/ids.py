"""Identifiers made here: a prefix and a ULID, so that they sort by creation time."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from ulid import ULID


@dataclass(frozen=True, slots=True)
class Seed:
    """What makes the identifiers and secrets of one request: repeated with the same seed, it makes the same ones.

    That is what lets a request whose first attempt crashed be carried out again without a second effect.
    """

    milliseconds: int
    entropy: bytes
    _turns: Iterator[int] = field(default_factory=count, compare=False, repr=False)

    def identifier(self, prefix: str) -> str:
        """The next identifier of this seed, such as `exp_01KAKX3S9Z0M4V1C3N8Q2T7R5W`."""
        return f"{prefix}_{self.ulid()}"

    def ulid(self) -> str:
        """The next ULID of this seed."""
        randomness = hashlib.sha256(self.entropy + next(self._turns).to_bytes(4, "big")).digest()[:10]
        return str(ULID.from_bytes(self.milliseconds.to_bytes(6, "big") + randomness))


def seed(now: datetime, entropy: bytes) -> Seed:
    """A seed for what is made at `now`; `entropy` is at least 16 random bytes."""
    return Seed(milliseconds=int(now.timestamp() * 1000), entropy=entropy)

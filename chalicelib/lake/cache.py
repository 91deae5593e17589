"""Copies of immutable objects on the execution environment's disk, for the jobs that come after this one."""

import hashlib
import os
import shutil
import time
import uuid
from pathlib import Path

from chalicelib.base.services import Services

MOST_BYTES = 2 << 30
# A purge is done within a day everywhere: so is what is kept here.
OLDEST_SECONDS = 6 * 3600


def fetch(services: Services, key: str, path: Path) -> None:
    """Make `path` a copy of the object: of the one kept here, or else of S3's. Lost when it is not there.

    The copy is a hard link: a job may read its own folder and nothing else, and what is dropped here stays there.
    """
    root = folder(services)
    kept = root / hashlib.sha256(key.encode()).hexdigest()
    try:
        os.link(kept, path)
    except FileNotFoundError:
        fresh = root / f"{kept.name}.{uuid.uuid4().hex}"
        try:
            services.bucket.download(key, fresh)
            os.link(fresh, path)
            fresh.replace(kept)
        finally:
            fresh.unlink(missing_ok=True)
    else:
        os.utime(kept, (time.time(), kept.stat().st_mtime))


def trim(services: Services) -> None:
    """Drop what is too old, then what was not used for longest, until the rest is small enough."""
    root = folder(services)
    most = min(MOST_BYTES, shutil.disk_usage(root).total // 4)
    found = sorted(((entry.stat(), entry.path) for entry in os.scandir(root)), key=lambda one: -one[0].st_atime)
    total = 0
    for stat, path in found:
        total += stat.st_size
        if total > most or time.time() - stat.st_mtime > OLDEST_SECONDS:
            Path(path).unlink(missing_ok=True)


def folder(services: Services) -> Path:
    """Where the copies are: outside of every folder that a job may read."""
    root = Path(services.settings.scratch) / "panelport-lake"
    root.mkdir(parents=True, exist_ok=True)
    return root

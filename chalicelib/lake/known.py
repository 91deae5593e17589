"""Whether a domain's lake has anything of a participant."""

from pathlib import Path

from chalicelib.aws.bucket import Lost
from chalicelib.base.services import Services
from chalicelib.lake import layout, manifest, rows, views


def is_known(services: Services, domain: str, participant_id: str) -> bool:
    """Whether a participant or an event of that id was ever accepted.

    Reads of the parts only the sorted lists of participants, of which a few row groups can hold the id.
    """
    for attempt in range(3):
        with services.folder("known") as folder:
            try:
                return _is_known(services, domain, participant_id, folder)
            except Lost:  # compacted and erased since it was listed
                if attempt == 2:
                    raise
    raise AssertionError


def _is_known(services: Services, domain: str, participant_id: str, folder: Path) -> bool:
    found = manifest.uncovered(services, domain, layout.KINDS)
    now = manifest.current(services, domain)
    lists = [part.key for part in now.participants] + [part.people.key for part in now.events]
    copies = {key: folder / f"{n:06d}.parquet" for n, key in enumerate(lists)}
    batches: dict[str, Path] = {}
    for kind in layout.KINDS:
        (folder / kind).mkdir()
        batches |= views.batch_copies(folder / kind, [key for key in found[kind] if key not in now.left])
    views.fetch(services, copies, batches)
    sources = [f"SELECT participant_id FROM '{path}'" for path in copies.values()]
    sources += [f"SELECT participant_id FROM ({rows.of_batches(folder / kind, kind)})" for kind in layout.KINDS]
    with views.connection(folder, services.settings.memory_limit) as con:
        asked = "SELECT 1 FROM ({}) WHERE participant_id = ? LIMIT 1"
        return any(con.execute(asked.format(source), [participant_id]).fetchone() for source in sources)

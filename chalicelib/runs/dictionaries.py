"""What the SPSS files of a saved export have promised: names and widths, kept with the export and changed by the commit
of a run alone, so that a run that is lost changes nothing and of two that race neither narrows the other's."""

from dataclasses import dataclass

from chalicelib.aws.store import Attr, Write
from chalicelib.base.services import Services
from chalicelib.base.tenant import Tenant
from chalicelib.exports.row import Dictionary, Export, dictionary
from chalicelib.files.spss_rules import NOTHING, Promise
from chalicelib.runs.config import Config
from chalicelib.runs.row import Run

# An item of the table holds 400 kB. What does not fit is chosen from the data of each run, which says so.
MAX_BYTES = 350_000
TOO_MANY = (
    "The SPSS file has more variables than can be remembered for the next run: names and widths may differ from file "
    "to file, so that SPSS may not join this export's files. Choose fewer columns."
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run found: what is kept of a promise, and the configuration that the export has."""

    found: Dictionary | None = None
    config: Config | None = None

    @property
    def promise(self) -> Promise:
        """The promise that the run is to keep."""
        return self.found.promise if self.found else NOTHING


def read(services: Services, run: Run) -> Kept:
    """What the run's export has promised; nothing for a run without one, or of another dataset than it has now."""
    if run.export_id is None:
        return Kept()
    tenant = Tenant(services, run.domain)
    export = tenant.get(Export, Export.place(run.export_id))
    found = tenant.get(Dictionary, Dictionary.place(run.export_id))
    if export is None or export.config.dataset != run.config.dataset:
        return Kept()
    return Kept(found, export.config)


def writes(services: Services, run: Run, kept: Kept, promise: Promise) -> list[Write]:
    """What to write with the run's commit, under the condition that the export and its promise are as they were."""
    if run.export_id is None or kept.config is None or promise == kept.promise:
        return []
    made = dictionary(run.export_id, promise)
    if _too_large(made):
        return []
    tenant, text = Tenant(services, run.domain), kept.config.text
    unchanged = Attr("variables").eq(kept.found.variables) if kept.found else Attr("pk").not_exists()
    return [
        tenant.putting(made, when=unchanged),
        # A condition alone; to set what is there needs no further permission.
        tenant.changing(Export.place(run.export_id), {"config": text}, when=Attr("config").eq(text)),
    ]


def warnings(run: Run, kept: Kept, promise: Promise) -> list[str]:
    """What the run's owner is to know of what is kept for the next run: that it is too much to be."""
    if run.export_id is None or kept.config is None:
        return []
    return [TOO_MANY] if _too_large(dictionary(run.export_id, promise)) else []


def _too_large(made: Dictionary) -> bool:
    return len(made.variables) > MAX_BYTES

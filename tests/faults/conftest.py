"""The sites that fault tests play on: one for a module, as new for each world."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib.base import telemetry
from chalicelib.files.formats import FORMATS
from chalicelib.runs import worker
from tests.faults.world import Light, Site, site, write_light


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose worker computes with the real engine."""
    level = telemetry.logger.log_level
    telemetry.logger.setLevel("CRITICAL")
    with site(tmp_path_factory.mktemp("site")) as made:
        yield made
    telemetry.logger.setLevel(level)


@pytest.fixture
def light(lake: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The same, with nothing to compute: the life of a run is the subject, and every call to AWS stays."""
    monkeypatch.setattr(worker, "views", Light(worker.views))
    monkeypatch.setitem(FORMATS, "csv", replace(FORMATS["csv"], write=write_light))
    return lake

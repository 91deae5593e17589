"""The deployments that tests are given, and the order in which they run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployed import Community, Deployment, deployed

# What takes longest is begun first, so that no processor waits for the other at the end; `make quick` leaves it out.
SLOW = (
    "infra/test_packaging",
    "lake/test_model",
    "lake/test_readme",
    "test_requests",
    "faults/",
    "imports/test_imports",
    "imports/test_inbox",
    "intake/test_purge",
    "lake/test_compaction",
    "conversations/test_browser",
    "infra/test_policies",
    "infra/test_template",
    "infra/test_local_stack",
    "files/test_formats",
    "exports/test_journey",
    "exports/test_title_race",
    "base/test_zones",
    "test_isolation",
    "webhooks/test_deliveries",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones."""

    def place(item: pytest.Item) -> int:
        path = item.nodeid.removeprefix("tests/")
        return next((n for n, start in enumerate(SLOW) if path.startswith(start)), len(SLOW))

    items.sort(key=place)
    for item in items:
        if place(item) < len(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment in a moto of its own."""
    with deployed(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One deployment for the tests of a module."""
    with deployed(tmp_path_factory.mktemp("deployment")) as made:
        yield made


@pytest.fixture
def community(shared: Deployment) -> Community:
    """A domain of its own in the module's deployment, with its admin key."""
    return Community(shared)

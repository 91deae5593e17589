"""The deployments that tests are given, and the order in which they run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployed import Community, Deployment, deployed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no processor waits for the other at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("judge") is None, item.get_closest_marker("slow") is None))


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

"""One deployment for the tests of a module, each of them in a community of its own."""

from collections.abc import Iterator

import pytest

from tests.conftest import Deployment
from tests.deployed import Community, deployed


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployment")) as made:
        yield made


@pytest.fixture
def community(shared: Deployment) -> Community:
    """A domain of its own, with its admin key."""
    return Community(shared)

"""One deployment for the tests of a module, a new community for each test."""

import pytest

from tests.deployed import Community, deployed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("deployment")) as deployment:
        yield deployment


@pytest.fixture
def community(shared):
    return Community(shared)

"""One model, commitment and log for all tests of ownership."""

import pytest

from tests.ownership.served import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("owner"))

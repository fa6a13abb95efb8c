"""One stage for all stories."""

from __future__ import annotations

import pytest
from performing import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp)

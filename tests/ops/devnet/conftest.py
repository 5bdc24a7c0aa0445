"""One chain for each module, and for each test the state it started with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.anvil import World, fresh_world


@pytest.fixture(scope="module")
def deployed() -> Iterator[World]:
    with fresh_world() as world:
        yield world


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.undone():
        yield deployed

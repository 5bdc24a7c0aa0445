"""A database and a shop for tests of payments."""

import pytest

from db.registry import Registry
from helpers.stripe_shop import Shop


@pytest.fixture(scope="session")
def registry():
    return Registry.load()


@pytest.fixture
def shop(request):
    return Shop(seed=sum(map(ord, request.node.name)))


@pytest.fixture
def reader(shop, migrated_engine, registry):
    return shop.reader(migrated_engine, registry)

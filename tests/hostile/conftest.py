"""One served API for all that is sent to it; whatever comes, it must live on."""

import pytest

from helpers.served import serving


@pytest.fixture(scope="package")
def served(postgres_url, migrated_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, postgres_url, migrated_template) as found:
        yield found


@pytest.fixture
def lives(served):
    """The served API, whose processes must be the same when a test has ended."""
    before = served.workers()
    yield served
    assert served.process.poll() is None, served.log.read_text()[-2000:]
    assert served.workers() == before, served.log.read_text()[-2000:]
    assert served.ask("GET", "/health/live")[0] == 200

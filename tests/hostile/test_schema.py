"""Whatever the OpenAPI document allows, and what it does not, gets an answer in it.

schemathesis makes requests from the document, right ones and wrong ones, and compares
the answers with it. Left out: `positive_data_acceptance`, for the document cannot say
what the tables speak against; and the stream of events, which does not end.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS

from api.payments import PaymentOptions
from commands.documents import Documents
from commands.storage import FolderStorage
from db.commands.evm.slots import register_signer
from db.declare.roles import Role
from helpers import servers
from helpers.office import REGISTRY, Office

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLES = 4  # of each operation
LEFT_OUT = ("positive_data_acceptance",)
STREAM = "/api/v1/commands/{command_id}/events"


@pytest.fixture(scope="module")
def office(postgres_url, migrated_template, tmp_path_factory):
    with servers.fresh_database(postgres_url, migrated_template) as url:
        found = Office(url)
        storage = FolderStorage(tmp_path_factory.mktemp("files"))
        documents = Documents(found.writer, REGISTRY, storage, found.clock, 100_000)
        places = {**found.lane.addresses, "AnchorRegistry": b"\1" * 20}
        command_service = found.with_lane(addresses=places)
        with found.writer.begin() as connection:
            register_signer(
                connection, name="notary", source_id=found.source,
                address=b"\2" * 20, next_nonce=0, gate_height=0,
            )  # fmt: skip
        found.open(
            command_service=command_service, documents=documents,
            payments=PaymentOptions(("whsec_for_tests_only",)),
        )  # fmt: skip
        yield found
        found.close()


def headers_of(office, who):
    if who == "anonymous":
        return {}
    account = office.people[Role.OPERATOR]
    if who == "key":
        return {"X-API-Key": office.key(account, "operator")[0]}
    return {"Authorization": f"Bearer {office.token(account)}"}


@pytest.mark.parametrize("who", ["anonymous", "key", "session"])
def test_every_operation_answers_as_the_document_says(office, who):
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", office.app)
    checks = [CHECKS.get_one(n) for n in CHECKS.get_all_names() if n not in LEFT_OUT]
    failures, seen = [], 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == STREAM:
            continue
        seen += 1
        try:
            exercise(office, operation, headers_of(office, who), checks)
        except BaseException as error:
            failures.append(f"{operation.label}: {error}")
    assert seen > 100
    assert not failures, "\n\n".join(failures)


def exercise(office, operation, headers, checks):
    """Some requests of one operation."""

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def ask(case):
        case.call_and_validate(headers=headers, checks=checks)

    ask()

"""What two thousand declared events cost beside fifty."""

import time

import pytest

from helpers import servers
from helpers.many import Many
from ops.embedded.postgres import EmbeddedPostgres

FEW, MANY = 50, 2000
ROUNDS = 3


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_verbs_do_not_follow_the_number_of_events(tmp_path, capsys):
    found: dict[str, dict[int, float]] = {}
    with EmbeddedPostgres(tmp_path, settings=servers.TEST_SETTINGS) as server:
        for count in (FEW, MANY):
            folder = tmp_path / f"settings-{count}"
            folder.mkdir()
            with (
                servers.fresh_database(server) as url,
                servers.engine_on(url) as engine,
            ):
                many = Many(folder, engine, count)
                first = {"migrate, the first": seconds(many.migrate, 1)}
                many.fill()
                verbs = {
                    "migrate, nothing to do": many.migrate,
                    "status": many.status,
                    "verify": many.verify,
                }
                measured = first | {
                    name: seconds(verb, ROUNDS) for name, verb in verbs.items()
                }
                for name, took in measured.items():
                    found.setdefault(name, {})[count] = took
    with capsys.disabled():
        print(f"\n{'':24} {FEW:6} {MANY:8} events")
        for name, took in found.items():
            ratio = took[MANY] / took[FEW]
            print(f"{name:24} {took[FEW]:6.2f} {took[MANY]:8.2f} s {ratio:8.1f} times")
        print("wanted: at most 4 times, but for the first migrate")


def seconds(verb, rounds):
    """The least time of some rounds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        verb()
        took.append(time.perf_counter() - began)
    return min(took)

"""Backfilling with RQ: real Redis, real workers, a real chain, and workers killed."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from db.position import BlockRange
from db.registry import Registry
from devnet.run import up
from examples.crowdfunding.traffic import Traffic
from helpers import servers
from ops.jobs import QUEUE, _BackfillJobs

COMMAND = Path(sys.executable).parent / "chainfold"
RQ = Path(sys.executable).parent / "rq"
SIMPLE = ("--worker-class", "rq.SimpleWorker")
HUNG_SECONDS = 90

pytestmark = [pytest.mark.chain, pytest.mark.slow]


class Place:
    """A folder with settings, a database and workers that share them."""

    def __init__(self, folder, database_url, redis_url):
        self.folder, self.redis_url = folder, redis_url
        self.engine = create_engine(database_url, poolclass=NullPool)

    def start(self, *arguments):
        return subprocess.Popen(
            [COMMAND, "--log-level", "warning", *arguments], cwd=self.folder,
            env=clean(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments, code=0):
        return ended(self.start(*arguments), code)

    @contextmanager
    def worker(self, *options):
        """A real `rq worker` on our queue; killed when the block ends."""
        log = self.folder / f"worker-{time.monotonic_ns()}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [RQ, "worker", "--url", self.redis_url, *options,
                 "-S", "rq.serializers.JSONSerializer", QUEUE],
                cwd=self.folder, env=clean(), stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: "Listening on" in log.read_text())
            yield process
        finally:
            kill(process)

    def scalar(self, query):
        with self.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def leases(self):
        return self.scalar("SELECT count(*) FROM control.lease")

    def digests(self):
        """A digest of every table that people read; all agree with their facts."""
        said = self.run("verify")
        assert ": 0 differences" in said
        registry = Registry.load(["crowdfunding"])
        names = [
            *registry.projections,
            *(e.spec.table for e in registry.events.values()),
        ]
        query = "SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM public.{} t"
        return {name: self.scalar(query.format(name)) for name in names}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A chain with business on it that has ended; its settings, and its head."""
    folder = tmp_path_factory.mktemp("chain")
    anvil, deployment = up(out_dir=folder)
    try:
        Traffic(deployment, seed=12).play(100)
        yield (folder / "chainfold.toml").read_text(), anvil.height
    finally:
        anvil.stop()


@pytest.fixture
def redis(redis_url):
    """A Redis with nothing of an earlier test in it."""
    with Redis.from_url(redis_url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def settings(chain, redis_url):
    """Small ranges, so that a job takes many writes and can be cut off."""
    text, _ = chain
    return f'{text}\n[limits]\nrange_blocks = 2\n[redis]\nurl = "{redis_url}"\n'


def make_place(folder, database_url, settings, redis_url):
    folder.mkdir(exist_ok=True)
    url = servers.plain(database_url)
    text = f'{settings}\n[database]\nurl = "{url}"\n'
    (folder / "chainfold.toml").write_text(text)
    place = Place(folder, database_url, redis_url)
    place.run("migrate")
    return place


@pytest.fixture
def place(tmp_path, database_url, settings, redis, redis_url):
    return make_place(tmp_path, database_url, settings, redis_url)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, postgres_url, chain, redis_url):
    """What an undisturbed backfill by one process makes."""
    with servers.fresh_database(postgres_url) as url:
        folder = tmp_path_factory.mktemp("undisturbed")
        place = make_place(folder, url, chain[0], redis_url)
        said = place.run("backfill", "--no-rq", "--workers", "1")
        return place.digests(), re.search(r"and ([\d,]+) events", said)[1]


def clean():
    return {k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")}


def ended(process, code=0):
    """What a command said that must end by itself."""
    try:
        said, _ = process.communicate(timeout=HUNG_SECONDS)
    finally:
        process.kill()
    assert process.returncode == code, said
    return said


def kill(worker):
    """End a worker as a lost machine does, with the work horse that it forked."""
    if worker.poll() is None:
        horses = children(worker)
        os.killpg(worker.pid, signal.SIGKILL)
        for horse in horses:
            with suppress(ProcessLookupError):
                os.kill(horse, signal.SIGKILL)
    worker.wait(10)


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s")


def jobs(redis):
    return Queue(QUEUE, connection=redis, serializer=JSONSerializer).count


@pytest.mark.parametrize("options", [(), SIMPLE], ids=["forking", "simple"])
def test_workers_write_what_one_process_would(place, redis, expected, options):
    with place.worker(*options), place.worker(*options):
        said = place.run("backfill", "--rq")
        again = place.run("backfill", "--rq")

    assert place.digests() == expected[0]
    assert f"and {expected[1]} events" in said
    assert "nothing was missing" in again
    assert (place.leases(), jobs(redis)) == (0, 0)


def test_workers_are_used_when_they_listen(place, redis, expected):
    with place.worker(*SIMPLE):
        place.run("backfill")
        used = redis.keys("rq:job:*")

    assert used
    assert place.digests() == expected[0]


def test_processes_are_used_when_no_worker_listens(place, redis, expected):
    place.run("backfill")

    assert redis.keys("rq:*") == []
    assert place.digests() == expected[0]


def test_a_worker_that_died_long_ago_does_not_listen(place, redis):
    """RQ itself takes seven minutes to forget it."""
    with place.worker() as worker:
        kill(worker)

        place.run("backfill")

    assert redis.keys("rq:workers") != []
    assert redis.keys("rq:job:*") == []


def test_redis_that_is_gone_is_done_without_unless_it_was_asked_for(place):
    file = place.folder / "chainfold.toml"
    file.write_text(re.sub(r"redis://[^/\"]+", "redis://127.0.0.1:1", file.read_text()))

    said = place.run("backfill", "--rq", code=2)

    assert "Redis cannot be used" in said
    assert "wrote" in place.run("backfill")


@pytest.mark.parametrize("options", [(), SIMPLE], ids=["forking", "simple"])
def test_the_job_of_a_worker_that_dies_is_given_to_another(
    place, redis, expected, options
):
    with place.worker(*options) as doomed:
        command = place.start("backfill", "--rq")
        wait_until(place.leases)
        kill(doomed)
        with place.worker(*SIMPLE):
            said = ended(command)

    assert "its worker died" in said
    assert place.digests() == expected[0]
    assert (place.leases(), jobs(redis)) == (0, 0)


def test_the_job_of_a_killed_work_horse_is_given_out_again(place, expected):
    with place.worker() as worker:
        command = place.start("backfill", "--rq")
        wait_until(place.leases)
        [horse] = children(worker)
        os.kill(horse, signal.SIGKILL)
        said = ended(command)

    assert "Work-horse terminated" in said
    assert place.digests() == expected[0]


def test_when_the_last_worker_dies_the_command_says_so_and_takes_its_jobs_back(
    place, redis, expected
):
    with place.worker(*SIMPLE) as worker:
        command = place.start("backfill", "--rq")
        wait_until(place.leases)
        kill(worker)
        said = ended(command, code=2)

    assert f"no RQ worker listens to {QUEUE}" in said
    assert jobs(redis) == 0
    place.run("backfill", "--no-rq")
    assert place.digests() == expected[0]


def test_when_the_last_worker_dies_that_nobody_asked_for_processes_go_on(
    place, expected
):
    with place.worker(*SIMPLE) as worker:
        command = place.start("backfill")
        wait_until(place.leases)
        kill(worker)
        said = ended(command)

    assert "going on without them" in said
    assert place.digests() == expected[0]


def test_a_job_that_cannot_be_done_ends_the_command_with_its_reason(place, redis):
    """The worker of another machine, whose settings are not there."""
    with place.worker(*SIMPLE):
        command = place.start("backfill", "--rq")
        wait_until(lambda: redis.keys("rq:job:*"))
        (place.folder / "chainfold.toml").rename(place.folder / "gone.toml")
        said = ended(command, code=2)

    assert "chainfold.toml" in said
    assert jobs(redis) == 0


def test_a_job_that_a_worker_takes_while_it_is_withdrawn_is_left_to_it(redis):
    """As RQ stands when its execution is listed and no more, or not yet, stored."""
    queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer)
    errand = _BackfillJobs(SimpleNamespace(name="evm"), queue, None)
    errand.begin(BlockRange(0, 9))
    errand.begin(BlockRange(10, 19))
    taken, waiting = (piece.job for piece in errand.pieces)
    redis.lrem(queue.key, 1, taken)
    redis.zadd(f"rq:executions:{taken}", {"gone": time.time() + 60})

    errand.withdraw()

    assert jobs(redis) == 0
    assert Job.exists(taken, redis)
    assert not Job.exists(waiting, redis)

"""Fault 16: Redis loses everything, or is away. Commands are taken and go on."""

import os
import threading
import time
import uuid

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from helpers import servers
from helpers.office import Office
from ops import rq_notifier
from ops.embedded.redis import EmbeddedRedis

ASKED = {"issuer": "0x" + "aa" * 20, "credential": "vc", "memorandum": "ipfs://m"}


@pytest.fixture
def redis():
    """A Redis of the test's own: it is emptied, and dies."""
    with servers.scratch_directory() as directory:
        server = EmbeddedRedis(directory)
        with server as url:
            yield server, url


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


@pytest.fixture
def woken():
    woken = threading.Event()
    rq_notifier.wake_events.add(woken)
    yield woken
    rq_notifier.wake_events.discard(woken)


def notifying(office, url):
    object.__setattr__(office.command_service, "notify", rq_notifier.RqNotifier(url))


def queue(url):
    return Queue(
        rq_notifier.QUEUE, connection=Redis.from_url(url), serializer=JSONSerializer
    )


def answer_all(url):
    found = queue(url)
    SimpleWorker(
        [found], connection=found.connection, serializer=JSONSerializer
    ).work(burst=True, logging_level="WARNING")  # fmt: skip


def waiting(office):
    query = "SELECT count(*) FROM control.command WHERE next_action_at IS NOT NULL"
    return office.scalar(query)


def test_a_command_that_is_taken_wakes_with_its_id_alone(office, redis, woken):
    _, url = redis
    notifying(office, url)
    taken = office.ask("register-issuer", **ASKED).json["data"]["id"]

    [job] = queue(url).jobs
    assert ("ops.rq_notifier.wake", (taken,), {}) == (
        job.func_name, tuple(job.args), job.kwargs,
    )  # fmt: skip
    assert not woken.is_set()
    answer_all(url)
    assert woken.is_set()
    assert [] == queue(url).jobs


def test_the_same_command_rings_once(redis):
    _, url = redis
    notify, command = rq_notifier.RqNotifier(url), uuid.uuid4()

    notify(command)
    notify(command)

    assert 1 == len(queue(url))


def test_16_redis_loses_everything(office, redis, woken):
    """The queue is emptied: the commands are there, and the next one wakes again."""
    _, url = redis
    notifying(office, url)
    for _ in range(3):
        office.ask("register-issuer", **ASKED)
    Redis.from_url(url).flushall()

    assert 0 == len(queue(url))
    assert 3 == waiting(office)
    office.ask("register-issuer", **ASKED)
    answer_all(url)
    assert woken.is_set()
    assert 4 == waiting(office)


def test_16_redis_is_away(office, woken):
    """Commands are still taken with 202, and nobody waits for Redis twice."""
    with servers.scratch_directory() as directory, EmbeddedRedis(directory) as url:
        pass  # it has ended
    notifying(office, url)

    began = time.monotonic()
    for _ in range(20):
        office.ask("register-issuer", **ASKED)

    assert 20 == waiting(office)
    assert office.command_service.notify._quiet_until > time.monotonic()
    assert time.monotonic() - began < 20


def test_a_worker_lives_through_a_redis_that_dies(woken):
    """In a process of its own, as RQ takes the signals of its process."""
    with servers.scratch_directory() as directory, EmbeddedRedis(directory) as url:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                listener = threading.Event()
                rq_notifier.wake_events.add(listener)
                threading.Thread(target=_tell, args=(listener, writing)).start()
                rq_notifier.run_worker(url, threading.Event())
            finally:
                os._exit(0)
        os.close(writing)
        notify = rq_notifier.RqNotifier(url)
        notify(uuid.uuid4())
        first = os.read(reading, 1)
        Redis.from_url(url).flushall()
        notify(uuid.uuid4())
        second = os.read(reading, 1)
        os.kill(child, 15)
        _, status = os.waitpid(child, 0)

    assert (b"!", b"!") == (first, second)
    assert 0 == os.waitstatus_to_exitcode(status)


def _tell(listener, writing):
    while True:
        listener.wait()
        listener.clear()
        os.write(writing, b"!")

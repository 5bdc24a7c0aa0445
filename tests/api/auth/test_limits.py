"""How often one may ask: with Redis, without it, and while it is away."""

import socket
import time

import pytest
from redis import Redis

from api.auth.options import WebOptions
from db.domains.crowdfunding.roles import ISSUER
from helpers import servers
from helpers.door import Door

PROBE, NONCE = "/probe", "/api/v1/auth/siwe/nonce"
FROM = {"environ_base": {"REMOTE_ADDR": "10.0.0.9"}}


@pytest.fixture
def limited(own_door):
    """Makes the app again, with limits."""

    def make(**web):
        own_door.open(web=WebOptions(**web))
        return own_door

    return make


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        yield redis_url


def statuses(door, number, path=PROBE, method="GET", **options):
    return [door.call(method, path, **options).status_code for _ in range(number)]


def test_too_many_are_told_when_to_come_again(limited):
    door = limited(limit="3/minute")

    found = statuses(door, 5)
    refused = door.get(PROBE, 429)

    assert [401] * 3 + [429] * 2 == found
    assert refused.json["type"] == "/docs#too_many_requests"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json["retry_after"] == int(refused.headers["Retry-After"])


def test_the_limit_is_for_all_routes_together(limited):
    door = limited(limit="4/minute")

    paths = (PROBE, "/api/v1/", "/api/v1/chains", PROBE, "/api/v1/", "/nowhere")
    found = [door.call("GET", path).status_code for path in paths]

    assert found[4] == 429


def test_addresses_count_apart_and_a_proxy_is_believed_only_where_it_is_said(limited):
    door = limited(limit="2/minute")
    assert [401, 401, 429] == statuses(door, 3)
    assert [401, 401, 429] == statuses(door, 3, **FROM)
    forged = {"headers": {"X-Forwarded-For": "1.2.3.4"}}
    assert [429] == statuses(door, 1, **forged)

    door = limited(limit="2/minute", proxies=1)
    for client in ("1.2.3.4", "1.2.3.5", "9.9.9.9, 1.2.3.6"):
        headers = {"X-Forwarded-For": client}
        assert [401, 401, 429] == statuses(door, 3, headers=headers)
    headers = {"X-Forwarded-For": "8.8.8.8, 1.2.3.6"}
    assert [429] == statuses(door, 1, headers=headers)


def test_an_account_counts_wherever_it_is_and_however_it_asks(limited):
    door = limited(limit="3/minute")
    account = door.account(ISSUER)
    token, (key, _) = door.token(account), door.key(account, "read")

    found = [
        *statuses(door, 2, token=token),
        *statuses(door, 2, key=key, **FROM),
    ]

    assert [200, 200, 200, 429] == found
    other = door.token(door.account(ISSUER))
    assert [200] == statuses(door, 1, token=other)


def test_a_made_up_credential_does_not_count_apart(limited):
    door = limited(limit="3/minute")

    found = [
        statuses(door, 1, headers={"X-API-Key": f"cfk_{n:08x}_{'A' * 43}"})[0]
        for n in range(5)
    ]

    assert [401] * 3 + [429] * 2 == found


def test_health_is_always_told_and_preflights_are_free(limited):
    door = limited(limit="1/minute")
    assert 429 not in statuses(door, 3, "/health/live")
    assert [200] * 3 == statuses(door, 3, method="OPTIONS")


def test_signing_in_is_limited_more(limited):
    door = limited(limit="100/minute", sign_in_limit="3/minute")
    routes = [NONCE, "/api/v1/auth/token", NONCE, "/api/v1/auth/logout"]

    found = [door.call("POST", path).status_code for path in routes]

    assert [201, 400, 201, 429] == found
    # One address for all accounts; reading is as elsewhere.
    token = door.token(door.account(ISSUER))
    assert [429] == statuses(door, 1, NONCE, "POST", token=token)
    assert [200] == statuses(door, 1, "/api/v1/auth/me", token=token)
    assert [201] == statuses(door, 1, NONCE, "POST", **FROM)


def test_without_a_limit_nothing_is_counted(limited):
    assert [401] * 50 == statuses(limited(), 50)


class TestRedis:
    def test_processes_share_the_count(self, limited, redis):
        web = {"limit": "4/minute", "redis_url": redis}
        door = limited(**web)
        first = statuses(door, 3)

        other = limited(**web)  # as another process has it

        assert [401] * 3 + [401, 429] == first + statuses(other, 2)

    def test_without_it_each_process_counts(self, limited):
        web = {"limit": "2/minute"}

        assert [401, 401, 429] == statuses(limited(**web), 3)
        assert [401, 401, 429] == statuses(limited(**web), 3)

    def test_while_it_is_away_reading_goes_on_and_is_counted_here(
        self, limited, caplog
    ):
        with socket.socket() as probe:  # nobody listens there
            probe.bind(("127.0.0.1", 0))
            url = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
            door = limited(limit="3/minute", sign_in_limit="2/minute", redis_url=url)
            began = time.monotonic()

            found = statuses(door, 5)
            sign_in = statuses(door, 3, NONCE, "POST", **FROM)

            assert [401] * 3 + [429] * 2 == found
            assert [201, 201, 429] == sign_in
            assert time.monotonic() - began < 5
        assert "falling back to in-memory" in caplog.text

    def test_one_that_hangs_is_not_waited_for(self, limited):
        """It accepts connections and says nothing."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(64)
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            door = limited(limit="3/minute", redis_url=url)
            began = time.monotonic()

            found = statuses(door, 4)

            assert [401] * 3 + [429] == found
            assert time.monotonic() - began < 5

    @pytest.mark.slow
    def test_it_is_used_again_when_it_is_back(self, limited):
        from ops.embedded.redis import EmbeddedRedis

        with servers.scratch_directory() as directory:
            with EmbeddedRedis(directory) as url:
                door = limited(limit="1000/minute", redis_url=url)
                statuses(door, 1)
            statuses(door, 3)
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            with EmbeddedRedis(directory, port=port) as again:
                deadline = time.monotonic() + 30
                with Redis.from_url(again) as client:
                    while not client.keys("*chainfold*"):
                        assert time.monotonic() < deadline, "it is never used again"
                        statuses(door, 1)

    def test_its_password_is_not_shown(self):
        web = WebOptions(redis_url="redis://:hidden@host/0")

        assert "hidden" not in repr(web)


def test_an_unreachable_redis_does_not_help_to_guess(database_url):
    """Failed sign-ins are counted in Postgres, whatever becomes of the other count."""
    door = Door(
        database_url,
        auth={"attempts": 2},
        web=WebOptions(limit="1000/minute", redis_url="redis://127.0.0.1:1/0"),
    )
    body = {"login": "somebody", "password": "not the password"}

    found = [door.post("/api/v1/auth/token", body, None).status_code for _ in range(4)]

    assert [401, 401, 429, 429] == found
    door.close()

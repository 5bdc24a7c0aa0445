"""What wallets may add is listed in the settings, and reaches the lane."""

import pytest
from solders.pubkey import Pubkey

from ops.settings import SettingsError, load_settings

LIGHTHOUSE = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
SHOP = "9sFQ4WDmYvUPTBYg7p3Gvxyq4Nt3ZCvSzXJ8hLHzBMZv"


@pytest.fixture
def load(tmp_path):
    def load(text):
        file = tmp_path / "chainfold.toml"
        file.write_text(text)
        return load_settings(file, {}).wallets.solana

    return load


def test_guards_and_fees_are_listed(load):
    found = load(
        f"""
[wallets.solana]
guards = ["{LIGHTHOUSE}"]
guards_most = 2
fees = {{ {SHOP} = 5_000 }}
priority_fee_max = 70_000
"""
    )

    assert found.guards == (bytes(Pubkey.from_string(LIGHTHOUSE)),)
    assert dict(found.fees) == {bytes(Pubkey.from_string(SHOP)): 5_000}
    assert (found.guards_most, found.priority_fee_max) == (2, 70_000)


def test_without_a_list_nothing_may_be_added(load):
    found = load("")

    assert (found.guards, dict(found.fees)) == ((), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('guards = ["11111111111111111111111111111111"]', "the system program moves"),
        ('guards = ["Tokenz"]', "is not a Solana address"),
        ("fees = { nobody = 5 }", "is not a Solana address"),
        (f"fees = {{ {SHOP} = -1 }}", "fees"),
        ("guard = []", "guards"),
    ],
)
def test_what_is_wrong_is_named(load, text, words):
    with pytest.raises(SettingsError, match=words):
        load(f"[wallets.solana]\n{text}\n")

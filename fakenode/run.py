"""Serves a growing chain until it is ended, for `chainfold devnet fakenode`."""

import random
import time
from collections.abc import Iterator

from fakenode.chain import FORMS
from fakenode.faults import LAG, PROVABLE, TRANSPORT, Faults
from fakenode.generate import FACTORY, TOKEN, Business, grown
from fakenode.node import Node
from fakenode.profiles import PROFILES
from fakenode.server import Server


def serve(
    profile: str, *, seed: int, blocks: int, share: float, lies: bool, port: int,
    chain_id: int, block_time: float,
) -> Iterator[str]:  # fmt: skip
    """Serve until interrupted; yields what there is to tell.

    Raises OSError when the port is taken.
    """
    chosen = PROFILES[profile]
    chain = grown(FORMS[chosen.form], seed=seed, blocks=blocks, chain_id=chain_id)
    kinds = (*TRANSPORT, *LAG, *(PROVABLE if lies else ()))
    faults = Faults(seed, share, kinds) if share else None
    business = Business(chain, random.Random(seed + 1))  # noqa: S311
    node = Node(chain, chosen, faults=faults)
    with Server([node], port=port, lost_share=share, seed=seed) as server:
        yield f"{profile}: chain {chain_id} of seed {seed} at {server.url}"
        yield f"  factory 0x{FACTORY.hex()}"
        yield f"  token 0x{TOKEN.hex()}"
        yield f"a block each {block_time:g} s; Ctrl-C ends it"
        while True:
            time.sleep(block_time)
            server.notify(chain.mine(*business.block()))


__all__ = ["PROFILES", "serve"]

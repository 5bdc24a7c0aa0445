"""A node that is not one: JSON-RPC and WebSocket over a made-up EVM chain.

    chain = grown(FORMS["ibft-ecdsa"], seed=7, blocks=20)
    node = Node(chain, PROFILES["edge-0.9"], faults=Faults(seed=7, share=0.2))
    with Server([node]) as server:
        ...  # ask server.url, or ws(s) under the same address

The chain hashes, seals and proves its blocks as the form says; the profile answers in
the words and within the limits of one kind of node or provider; the faults are decided
by hash(seed, request, attempt). Nothing here imports the product, so that the two
cannot agree by construction. It stands in the repository beside the tests and is no
part of the wheel.
"""

from fakenode.chain import FORMS, Block, Chain, Form, Log, Tx
from fakenode.faults import Faults
from fakenode.generate import grown
from fakenode.node import Node
from fakenode.profiles import PROFILES, Profile
from fakenode.server import Server

__all__ = [
    "FORMS", "PROFILES", "Block", "Chain", "Faults", "Form", "Log", "Node", "Profile",
    "Server", "Tx", "grown",
]  # fmt: skip

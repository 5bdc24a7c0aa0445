"""Events of the AnchorRegistry."""

from db.declare import Address, Bytes32, Contract, Event, Time, Uint

registry = Contract("AnchorRegistry")


class HashAnchored(Event):
    """Somebody put a hash about a subject on the chain.

    Anyone may: who it was (`signer`) says what it is worth. `seq` counts the anchors of
    a subject.
    """

    source = registry
    name = "Anchored"
    subject = Bytes32()
    kind = Uint(16)
    signer = Address(param="by")
    content_hash = Bytes32()
    occurred_at = Uint(64, meaning=Time())
    reference = Bytes32(param="ref")
    seq = Uint(64)

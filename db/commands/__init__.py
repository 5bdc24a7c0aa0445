"""The write side's rows: each transition of a command is one transaction here.

    accepted ──► slotted ──► signed ──► included ──► succeeded | reverted
        │  ▲        │           │  ▲        │
        │  └────────┴── lost ───┘  └─ reorg ┘   (lost: another wallet used the nonce)
        ▼                       └──► closing ──► cancelled | expired
    rejected | expired | cancelled      held: set aside, and accepted again later

A nonce is a row, taken in the transaction that binds it to its command; signed bytes
are stored before they leave; a slot is resolved only by what the indexed chain shows in
a final block. Nothing else, no timeout and no answer of a node, ever decides a state.
What the signer refuses is held: before it has a nonce, or after that was used up.
"""

"""The signing side: keys behind rules and a memory, in a process of its own or not.

    work ──► RemoteSigner ──HTTP──► serve ──► GuardedSigner ──► the key
    work ──────────────────────────────────► GuardedSigner ──► the key

Whoever asks, the same guard decides: what may be called, what it may cost, and that no
two different calls are ever signed for one nonce.
"""

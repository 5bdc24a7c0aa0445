"""The rows of commands that become EVM transactions: signers, nonces, signed bytes."""

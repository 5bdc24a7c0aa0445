"""Error codes and limits that both ends of the signing port know."""

REFUSED = -32041
HELD = -32042
NO_METHOD = -32601
BYTES_MAX = 1 << 20

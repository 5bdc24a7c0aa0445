"""Intent to signed transaction to proof.

`db.commands` has the transitions; here are the parts that touch the world: keys, nodes,
and the loop that carries every open nonce forward until the index has shown its end.
"""

from db import recursion as recursion  # its libraries raise the limit

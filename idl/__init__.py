"""IDLs of Solana programs, and what they say: layouts, and bytes read by them.

idl = load_idl("ledger")     the file idl/ledger.json
idl = parse_idl(content)     bytes of a file, or an object that was loaded
"""

from idl.model import Idl, IdlError
from idl.parse import load_idl, parse_idl

__all__ = ["Idl", "IdlError", "load_idl", "parse_idl"]

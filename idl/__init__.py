"""IDLs of Solana programs, and what they say: layouts, and bytes read by them.

idl = load_idl("ledger")     the file idl/ledger.json
idl = parse_idl(content)     bytes of a file, or an object that was loaded
idl = load_builtin("token")  of a program that everybody uses
"""

from idl.model import Idl, IdlError
from idl.parse import BUILTIN, load_builtin, load_idl, parse_idl

__all__ = ["BUILTIN", "Idl", "IdlError", "load_builtin", "load_idl", "parse_idl"]

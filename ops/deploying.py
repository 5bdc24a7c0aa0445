"""Deploying Solana programs through the upgradeable loader, and going on after a stop.

The bytes are written to a buffer whose address follows from the payer, the program and
the bytes themselves. Whoever runs the same deployment again finds it, compares, and
writes only what is missing, so that nothing needs to be remembered between the two.

Source of the formats: solana-loader-v3-interface (instruction.rs, state.rs).
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountParams,
    CreateAccountWithSeedParams,
    create_account,
    create_account_with_seed,
)

from ops.cluster import Cluster, Expired, Prepared
from ops.errors import OperationError

LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
SYSTEM = Pubkey.default()
RENT = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
BUFFER_HEADER, DATA_HEADER, PROGRAM_BYTES = 37, 45, 36
CHUNK_BYTES = 900
IN_FLIGHT_MAX = 40  # transactions that are sent before the first is waited for
ROUNDS_MAX = 8  # without progress
PROGRAM_MAX = 10 * 2**20  # bytes that an account may have

Tell = Callable[[str], None]


class DeployError(OperationError):
    """A program cannot be deployed as asked."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A program on its chain: `code` with the room that is left after it, as zeroes."""

    address: Pubkey
    authority: Pubkey | None
    slot: int
    code: bytes

    def holds(self, code: bytes) -> bool:
        """Whether its code is just this."""
        return self.code[: len(code)] == code and not any(self.code[len(code) :])

    @property
    def digest(self) -> str:
        """The sha256 of the code in hex, without zeroes at its end."""
        return hashlib.sha256(self.code.rstrip(b"\0")).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment: what is there already, and what it takes.

    `lamports` are what the payer must have at the most; those of the buffer come back.
    """

    code: bytes
    program: Pubkey
    found: Deployed | None
    room: int
    buffer: Pubkey
    seed: str
    missing: tuple[int, ...]
    lamports: int

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.found is not None and self.found.holds(self.code)


def read_program(data: bytes, name: str) -> bytes:
    """Return the bytes of a program; raises DeployError when they are none."""
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < 64:
        raise DeployError(
            f"{name} is no program for Solana: give the .so file that the build wrote"
        )
    if len(data) > PROGRAM_MAX - DATA_HEADER:
        raise DeployError(
            f"{name} has {len(data)} bytes, and an account no more than {PROGRAM_MAX}: "
            "build it without debug information"
        )
    return data


def find_program(cluster: Cluster, address: Pubkey) -> Deployed | None:
    """Return the program at an address, None where there is no account.

    Raises DeployError when something else is there.
    """
    account = cluster.account(address)
    if account is None:
        return None
    head = bytes(account.data)
    if account.owner != LOADER or len(head) < PROGRAM_BYTES or head[:4] != b"\2\0\0\0":
        raise DeployError(
            f"{address} is no program of the upgradeable loader: take another key, "
            "which `chainfold program new-key` makes"
        )
    data = cluster.account(Pubkey(head[4:36]))
    if data is None or len(data.data) < DATA_HEADER:
        raise DeployError(f"{address} was closed, for ever: take another key for it")
    raw = bytes(data.data)
    tag, slot, named = struct.unpack_from("<IQB", raw)
    if tag != 3:
        raise DeployError(f"{address} has no program data: take another key for it")
    authority = Pubkey(raw[13:45]) if named else None
    return Deployed(address, authority, slot, raw[DATA_HEADER:])


def plan(
    cluster: Cluster, code: bytes, program: Pubkey, max_bytes: int | None = None
) -> Plan:
    """Look at the chain and return what is to be done; nothing is sent.

    `max_bytes` is the most that the program may ever have (default: what it has now).
    Raises DeployError when it cannot be done.
    """
    found = find_program(cluster, program)
    room = max_bytes or len(code) if found is None else len(found.code)
    _check(cluster.key, code, found, room)
    seed = hashlib.sha256(bytes(program) + hashlib.sha256(code).digest()).hexdigest()
    buffer = Pubkey.create_with_seed(cluster.key, seed[:32], LOADER)
    written, held = _written(cluster, buffer, len(code))
    missing = tuple(
        start
        for start in range(0, len(code), CHUNK_BYTES)
        if written is None
        or code[start : start + CHUNK_BYTES] != written[start : start + CHUNK_BYTES]
    )
    stays = 0
    if found is None:
        stays = cluster.rent(DATA_HEADER + room) + cluster.rent(PROGRAM_BYTES)
    most = max(stays, cluster.rent(BUFFER_HEADER + len(code)))
    fees = cluster.fee * (len(missing) + 4)
    # The payer may not be left with less than an account of no bytes must hold.
    lamports = max(most - held, 0) + fees + cluster.rent(0)
    return Plan(code, program, found, room, buffer, seed[:32], missing, lamports)


def _check(key: Pubkey, code: bytes, found: Deployed | None, room: int) -> None:
    if len(code) > room or room > PROGRAM_MAX - DATA_HEADER:
        raise DeployError(
            f"the program has {len(code)} bytes, and room for {room}: "
            + (
                f"give --max-bytes between that and {PROGRAM_MAX - DATA_HEADER}"
                if found is None
                else "extend it with Solana's own tools (`solana program extend`) first"
            )
        )
    if found is None or found.holds(code) or found.authority == key:
        return
    raise DeployError(
        f"{found.address} can be changed by "
        f"{found.authority or 'nobody, for ever'}, and {key} pays here: sign with the "
        "upgrade authority, or deploy under a new key"
    )


def _written(cluster: Cluster, buffer: Pubkey, size: int) -> tuple[bytes | None, int]:
    """Return what is in the buffer, and the lamports that it holds."""
    account = cluster.account(buffer)
    if account is None:
        return None, 0
    raw = bytes(account.data)
    ours = struct.pack("<IB", 1, 1) + bytes(cluster.key)
    if account.owner != LOADER or len(raw) != BUFFER_HEADER + size or raw[:37] != ours:
        raise DeployError(
            f"{buffer}, where this deployment is written to, is not as we left it: "
            "pay with another key, or deploy under a new one"
        )
    return raw[BUFFER_HEADER:], account.lamports


def check_funds(cluster: Cluster, planned: Plan) -> None:
    """Raise DeployError when the payer has too few lamports."""
    held = cluster.balance(cluster.key)
    if held < planned.lamports:
        raise DeployError(
            f"{cluster.key} has {held / 1e9:.9f} SOL, and {planned.lamports / 1e9:.9f} "
            "are needed at the most: send it the difference"
        )


def deploy(
    cluster: Cluster, planned: Plan, program: Keypair | None, tell: Tell
) -> Deployed:
    """Carry out a plan and return the program as it is on the chain then.

    `program` signs where the program is new. It can be stopped at any moment and run
    again. Raises DeployError and ClusterError.
    """
    if planned.found is None and program is None:
        raise DeployError(
            "the program is new, so its own key must sign: give --program-keypair"
        )
    if not planned.done:
        check_funds(cluster, planned)
        _make_buffer(cluster, planned, tell)
        _write_all(cluster, planned, tell)
        _switch(cluster, planned, program, tell)
    found = find_program(cluster, planned.program)
    if found is None or not found.holds(planned.code):
        raise DeployError(
            f"{planned.program} does not hold what was written, as the endpoint says: "
            "run this again; if it says so again, ask another endpoint"
        )
    return found


def _make_buffer(cluster: Cluster, planned: Plan, tell: Tell) -> None:
    size = BUFFER_HEADER + len(planned.code)
    if cluster.account(planned.buffer) is not None:
        return
    tell(f"making buffer {planned.buffer}")
    create = create_account_with_seed(
        CreateAccountWithSeedParams(
            from_pubkey=cluster.key,
            to_pubkey=planned.buffer,
            base=cluster.key,
            seed=planned.seed,
            lamports=cluster.rent(size),
            space=size,
            owner=LOADER,
        )
    )
    accounts = [_writable(planned.buffer), _plain(cluster.key)]
    initialize = Instruction(LOADER, struct.pack("<I", 0), accounts)
    _surely(cluster, [create, initialize], (), lambda: _there(cluster, planned.buffer))


def _write_all(cluster: Cluster, planned: Plan, tell: Tell) -> None:
    """Write what is missing, compare, and again, until nothing is."""
    idle, left = 0, -1
    while missing := _missing(cluster, planned):
        idle = idle + 1 if len(missing) == left else 0
        left = len(missing)
        if idle == ROUNDS_MAX:
            raise DeployError(
                f"{left} parts of the program do not arrive: run this again, with a "
                "higher --unit-price when the cluster is busy"
            )
        tell(f"writing {left} of {-(-len(planned.code) // CHUNK_BYTES)} parts")
        for start in range(0, left, IN_FLIGHT_MAX):
            part = missing[start : start + IN_FLIGHT_MAX]
            cluster.run_all([_write(cluster.key, planned, at) for at in part])


def _missing(cluster: Cluster, planned: Plan) -> list[int]:
    code = planned.code
    written, _ = _written(cluster, planned.buffer, len(code))
    if written is None:
        raise DeployError(f"buffer {planned.buffer} is gone: run this again")
    return [
        start
        for start in range(0, len(code), CHUNK_BYTES)
        if code[start : start + CHUNK_BYTES] != written[start : start + CHUNK_BYTES]
    ]


def _write(key: Pubkey, planned: Plan, start: int) -> Prepared:
    """Loader instruction 1: offset, then bytes with a length of eight bytes."""
    piece = planned.code[start : start + CHUNK_BYTES]
    data = struct.pack("<IIQ", 1, start, len(piece)) + piece
    accounts = [_writable(planned.buffer), _signing(key)]
    return Prepared([Instruction(LOADER, data, accounts)])


def _switch(
    cluster: Cluster, planned: Plan, program: Keypair | None, tell: Tell
) -> None:
    """Make the buffer the program, which closes the buffer."""
    place, _ = Pubkey.find_program_address([bytes(planned.program)], LOADER)
    places = [_writable(key) for key in (place, planned.program, planned.buffer)]
    ending = [_plain(RENT), _plain(CLOCK)]
    if planned.found is not None:
        tell(f"upgrading {planned.program}")
        accounts = [*places, _writable(cluster.key), *ending, _signing(cluster.key)]
        calls = [Instruction(LOADER, struct.pack("<I", 3), accounts)]
    else:
        tell(f"deploying {planned.program}")
        make = CreateAccountParams(
            from_pubkey=cluster.key,
            to_pubkey=planned.program,
            lamports=cluster.rent(PROGRAM_BYTES),
            space=PROGRAM_BYTES,
            owner=LOADER,
        )
        payer = AccountMeta(cluster.key, is_signer=True, is_writable=True)
        accounts = [payer, *places, *ending, _plain(SYSTEM), _signing(cluster.key)]
        data = struct.pack("<IQ", 2, planned.room)
        calls = [create_account(make), Instruction(LOADER, data, accounts)]

    def done() -> bool:
        found = find_program(cluster, planned.program)
        return found is not None and found.holds(planned.code)

    _surely(cluster, calls, () if program is None else (program,), done)


def _surely(
    cluster: Cluster, calls: list[Instruction], signers: tuple[Keypair, ...],
    done: Callable[[], bool],
) -> None:  # fmt: skip
    """Send what may happen once, again when it expired and has not happened."""
    for _ in range(ROUNDS_MAX):
        try:
            cluster.run(calls, signers)
            return
        except Expired as error:
            last = error
            if done():
                return
    raise last


def _there(cluster: Cluster, key: Pubkey) -> bool:
    return cluster.account(key) is not None


def hand_over(cluster: Cluster, program: Pubkey, authority: Pubkey | None) -> None:
    """Let another key change the program from now on; None: nobody, for ever."""
    found = find_program(cluster, program)
    if found is None or found.authority != cluster.key:
        raise DeployError(
            f"{cluster.key} may not change {program}: sign with "
            f"{found.authority if found and found.authority else 'nobody: it is final'}"
        )
    place, _ = Pubkey.find_program_address([bytes(program)], LOADER)
    heirs = [] if authority is None else [_plain(authority)]
    accounts = [_writable(place), _signing(cluster.key), *heirs]
    cluster.run([Instruction(LOADER, struct.pack("<I", 4), accounts)])


def _plain(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=False)


def _writable(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=False, is_writable=True)


def _signing(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=False)

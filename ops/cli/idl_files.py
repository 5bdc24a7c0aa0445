"""Files of IDLs that were fetched, and the lines of the settings that name them."""

import os
from collections.abc import Mapping
from pathlib import Path

import click
from solders.pubkey import Pubkey

from idl.parse import snake_case
from ops.errors import OperationError
from ops.idl_versions import IdlVersions
from ops.idls import FetchedIdl


class IdlFiles:
    """Writes the IDLs of one program; `home` is the folder of the settings.

    Without `yes` somebody is asked before a file is replaced by another.
    """

    def __init__(self, home: Path, program: Pubkey, yes: bool) -> None:
        self._home, self._program, self._yes = home, program, yes

    def write_present(self, found: FetchedIdl, file: Path | None) -> None:
        """Write the present IDL, and show how to follow the program with it."""
        name = snake_case(found.idl.name)
        target = file or self._home / "idl" / f"{name}.json"
        self._write({target: found.content}, "--file")
        click.echo(
            f"{target}: {len(found.idl.instructions)} instructions, "
            f"{len(found.idl.events)} events. To follow it:\n\n[programs.{name}]\n"
            f'idl = "{self._named(target)}"\naddress = "{self._program}"'
        )
        if found.idl.address not in (None, bytes(self._program)):
            click.echo("The IDL itself names another address.", err=True)

    def write_versions(self, found: IdlVersions, folder: Path | None) -> None:
        """Write each version, and show how to follow the program with all of them."""
        last = found.versions[-1]
        name = snake_case(last.idl.name)
        place = folder or self._home / "idl"
        files = [place / f"{name}.idl.{each.slot}.json" for each in found.versions]
        contents = [each.content for each in found.versions]
        self._write(dict(zip(files, contents, strict=True)), "--folder")
        for each, target in zip(found.versions, files, strict=True):
            click.echo(
                f"{target}: uploaded in slot {each.slot}, "
                f"{len(each.idl.instructions)} instructions, {len(each.idl.events)} "
                "events"
            )
        for note in found.notes:
            click.echo(note, err=True)
        slots = ", ".join(map(str, found.deployed))
        click.echo(
            "Each slot is that of the upload. "
            + (
                f"The program's code is of slots {slots}"
                if slots
                else "Of the program's code, `chainfold program show` tells the slot"
            )
            + ", and runs from the slot after: from_slot is better that one, where an "
            "upgrade and the upload of its IDL lie apart.\n\nTo follow it:\n"
        )
        lines = [
            f'  {{ file = "{self._named(target)}"'
            + (f", from_slot = {each.slot}" if at else "")
            + " },"
            for at, (each, target) in enumerate(zip(found.versions, files, strict=True))
        ]
        click.echo(
            "\n".join(
                [
                    f"[programs.{name}]",
                    f'address = "{self._program}"',
                    "idl = [",
                    *lines,
                    "]",
                ]
            )
        )

    def _write(self, contents: Mapping[Path, bytes], option: str) -> None:
        """Write files, after all that would be replaced were asked about."""
        for target, content in contents.items():
            if self._is_another(target, content) and not self._yes:
                click.confirm(
                    f"{target} is there and is another. Replace it?", abort=True
                )
        for target, content in contents.items():
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            except OSError as error:
                raise OperationError(
                    f"{target} cannot be written ({error.strerror}): say another "
                    f"{option}"
                ) from None

    def _is_another(self, target: Path, content: bytes) -> bool:
        try:
            return target.read_bytes() != content
        except FileNotFoundError:
            return False
        except OSError:  # a folder, say: writing tells
            return False

    def _named(self, target: Path) -> str:
        return os.path.relpath(target, self._home)

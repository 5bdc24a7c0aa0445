"""Folders of processes that were killed are removed by others, and no other ones."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from ops.temporary import LOCK, YOUNG_SECONDS, temporary_folder

PREFIX = "kept-"
KEEPS = f"""
import time
from ops.temporary import temporary_folder
with temporary_folder({PREFIX!r}) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def make_old(folder):
    then = folder.stat().st_mtime - 2 * YOUNG_SECONDS
    os.utime(folder, (then, then))


def names(room):
    return {each.name for each in room.iterdir()}


def test_it_is_removed_after_the_block(room):
    with temporary_folder(PREFIX) as folder:
        (folder / "counts").write_text("1")
        assert names(room) == {folder.name}
    assert names(room) == set()


def test_a_folder_goes_when_its_process_was_killed_and_not_before(room):
    process = subprocess.Popen([sys.executable, "-c", KEEPS], stdout=subprocess.PIPE)
    with process:
        folder = room / os.path.basename(process.stdout.readline().decode().strip())
        make_old(folder)
        with temporary_folder(PREFIX):
            assert folder.name in names(room)
        process.send_signal(signal.SIGKILL)
    with temporary_folder(PREFIX):
        assert folder.name not in names(room)


def test_folders_of_others_and_young_ones_stay(room):
    for name in ("kept-without-a-lock", "other-folder", "kept-young"):
        (room / name).mkdir()
        if name != "kept-without-a-lock":
            (room / name / LOCK).touch()
        if name != "kept-young":
            make_old(room / name)
    before = names(room)
    with temporary_folder(PREFIX):
        pass
    assert names(room) == before

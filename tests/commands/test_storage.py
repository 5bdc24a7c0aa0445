"""What every storage does alike, and what is told when one cannot."""

import logging
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from commands.s3 import S3Storage
from commands.storage import FolderStorage, NoFile, StorageAway, try_out
from helpers.bucket import BUCKET, KEYS, bucket_server

NAME = "ab" * 32


@pytest.fixture(scope="module")
def server():
    with bucket_server() as found:
        yield found


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["folder", "bucket", "place in a bucket"])
def storage(request, tmp_path, server):
    if request.param == "folder":
        return FolderStorage(tmp_path / "files")
    prefix = "" if request.param == "bucket" else "kyc/live"
    return S3Storage.open(BUCKET, prefix=prefix, endpoint=server.endpoint)


def test_it_gives_back_what_it_was_given(storage):
    content = random.Random(3).randbytes(1_300_000)
    storage.put(NAME, content)
    storage.put(NAME, content)

    assert content == storage.get(NAME)


def test_what_is_not_there_is_restored_from_a_backup(storage):
    storage.put(NAME, b"one")
    storage.delete(NAME)
    storage.delete(NAME)

    with pytest.raises(NoFile, match="restore it from a backup"):
        storage.get(NAME)


@pytest.mark.parametrize("name", ["../x", "", "a" * 8, NAME.upper(), f"{NAME}/..", "."])
def test_it_takes_no_names_but_ours(storage, name):
    for ask in (lambda: storage.put(name, b""), lambda: storage.get(name)):
        with pytest.raises(ValueError, match="not a name of ours"):
            ask()


def test_what_is_no_content_is_not_kept(storage):
    storage.delete(NAME)
    with pytest.raises(TypeError):
        storage.put(NAME, "text is not bytes")

    with pytest.raises(NoFile):
        storage.get(NAME)


def test_files_of_a_certain_age_are_listed(storage):
    storage.put(NAME, b"1")
    now = datetime.now(UTC)

    assert [NAME] == list(storage.older(now + timedelta(minutes=1)))
    assert [] == list(storage.older(now - timedelta(minutes=1)))
    assert storage.has(NAME)
    storage.delete(NAME)
    assert not storage.has(NAME)
    assert [] == list(storage.older(now + timedelta(minutes=1)))


def test_the_folder_is_for_us_alone_also_one_that_was_open(tmp_path):
    folder = tmp_path / "deep" / "documents"
    FolderStorage(folder).put(NAME, b"1")
    modes = {path.stat().st_mode & 0o777 for path in (folder, folder / NAME[:2])}
    assert {0o700} == modes

    folder.chmod(0o755)
    FolderStorage(folder).put(NAME, b"1")
    assert 0o700 == folder.stat().st_mode & 0o777


def test_trying_it_out_leaves_nothing(storage, server, tmp_path):
    before = server.listed()

    try_out(storage)

    assert before == server.listed()
    assert [] == [each for each in tmp_path.rglob("*") if each.is_file()]


def test_files_have_the_same_places_in_all(server, tmp_path):
    FolderStorage(tmp_path).put(NAME, b"1")
    S3Storage.open(BUCKET, prefix="same", endpoint=server.endpoint).put(NAME, b"1")

    [path] = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert f"same/{path.relative_to(tmp_path)}" in server.listed()


def away(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    nobody = "http://127.0.0.1:9"
    return {
        "a folder that is none": (FolderStorage(tmp_path / "file"), "check the disk"),
        "nobody there": (S3Storage.open(BUCKET, endpoint=nobody), "whether it runs"),
    }


@pytest.mark.parametrize("which", ["a folder that is none", "nobody there"])
def test_a_storage_that_is_away_says_so(tmp_path, which):
    storage, told = away(tmp_path)[which]

    for ask in (lambda: storage.put(NAME, b""), lambda: storage.get(NAME)):
        with pytest.raises(StorageAway, match=told):
            ask()


def test_a_bucket_that_is_missing_is_named(server):
    storage = S3Storage.open("elsewhere", endpoint=server.endpoint)

    with pytest.raises(StorageAway, match="bucket elsewhere at .* make the bucket"):
        storage.put(NAME, b"1")
    with pytest.raises(StorageAway, match="make the bucket"):
        storage.get(NAME)


def test_without_credentials_it_is_told_which(server, monkeypatch, tmp_path):
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(StorageAway, match="set AWS_ACCESS_KEY_ID"):
        S3Storage.open(BUCKET, endpoint=server.endpoint).put(NAME, b"1")


def test_no_key_is_shown(server, caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.WARNING)  # as `ops.logs` has it
    storage = S3Storage.open("elsewhere", endpoint=server.endpoint)
    with pytest.raises(StorageAway) as error:
        storage.put(NAME, b"1")

    shown = f"{caplog.text} {storage!r} {storage} {error.value}"
    assert not any(key in shown for key in KEYS.values())


def test_who_has_no_bucket_loads_no_library_for_it():
    script = "import sys, ops.documents; print('boto3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "False" == done.stdout.strip()

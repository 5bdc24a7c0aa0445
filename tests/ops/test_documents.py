"""Where the settings have documents kept, and what the doctor says of it."""

import contextlib
import sys

import pytest

from db.registry import Registry
from helpers.bucket import BUCKET, KEYS, bucket_server
from ops.doctor import examine
from ops.documents import open_storage
from ops.errors import OperationError
from ops.settings import SettingsError, load_settings


@pytest.fixture
def settings(tmp_path):
    def load(text):
        path = tmp_path / "chainfold.toml"
        path.write_text(text)
        return load_settings(path, {})

    return load


@pytest.fixture
def server(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with bucket_server() as found:
        yield found


def doctor(settings, engine):
    opening = lambda _: contextlib.nullcontext(engine)  # noqa: E731
    found = {each.check: each for each in examine(settings, Registry.load(), opening)}
    return found["documents"]


def section(server, **more):
    keys = {"bucket": BUCKET, "endpoint": server.endpoint, "region": "eu-central-1"}
    lines = [f'{key} = "{value}"' for key, value in {**keys, **more}.items()]
    return "\n".join(["[documents]", *lines])


def test_without_a_bucket_it_is_a_folder(settings, migrated_engine, tmp_path):
    found = doctor(settings('data_dir = "d"'), migrated_engine)

    assert found.well
    assert str(tmp_path / "d" / "documents") in found.detail


def test_the_doctor_writes_reads_and_forgets(settings, migrated_engine, server):
    found = doctor(settings(section(server, prefix="kyc/live/")), migrated_engine)

    assert found.well, found.detail
    assert f"bucket {BUCKET}/kyc/live at {server.endpoint}" in found.detail
    assert [] == server.listed()


def test_the_doctor_names_what_is_to_be_done(settings, migrated_engine, server):
    found = doctor(settings(section(server, bucket="elsewhere")), migrated_engine)

    assert not found.well
    assert "make the bucket" in found.detail


def test_a_missing_library_is_named_with_its_extra(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "commands.s3", raising=False)

    with pytest.raises(OperationError, match=r"pip install 'chainfold\[s3\]'"):
        open_storage(settings('[documents]\nbucket = "kyc"'))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('bucket = "s3://kyc/x"', "goes into prefix"),
        ('prefix = "kyc"', "documents.bucket: is required"),
        ('bucket = "kyc"\nprefix = "../x y"', "is no prefix"),
        ('bucket = "kyc"\nendpoint = "minio:9000"', "is not an endpoint"),
        ('bucket = "kyc"\nsecret_key = "Wilhelmina"', "set AWS_ACCESS_KEY_ID"),
        ('buckets = "kyc"', "did you mean bucket?"),
    ],
)
def test_a_wrong_setting_names_its_remedy(settings, text, told):
    with pytest.raises(SettingsError) as error:
        settings(f"[documents]\n{text}")

    assert told in str(error.value)
    assert "Wilhelmina" not in str(error.value)

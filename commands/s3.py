"""Files in a bucket of S3 or a compatible service: MinIO, Ceph, Garage.

The library finds the credentials by itself: `AWS_ACCESS_KEY_ID` with
`AWS_SECRET_ACCESS_KEY`, a profile, or the role of the machine. They are no settings.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    NoCredentialsError,
)

from commands.storage import NoFile, StorageAway, is_name, path_of

# Others than Amazon know no checksums but MD5.
_CONFIG = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)  # fmt: skip
_BY_PATH = Config(s3={"addressing_style": "path"})
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_REMEDIES = {
    "NoSuchBucket": "make the bucket, or correct [documents] bucket",
    "AccessDenied": "let the key put, get and delete objects there",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class S3Storage:
    """A bucket, and the prefix of its files."""

    bucket: str
    prefix: str
    endpoint: str | None
    # Any: the library makes the classes of its clients when it runs.
    client: Any = field(repr=False, compare=False)

    @classmethod
    def open(
        cls,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
    ) -> "S3Storage":
        """A storage in a bucket; without an endpoint it is Amazon's."""
        config = _CONFIG if endpoint is None else _CONFIG.merge(_BY_PATH)
        # Of a session of its own: that of the library keeps what it found before.
        client = boto3.Session().client(
            "s3", endpoint_url=endpoint, region_name=region, config=config
        )
        return cls(bucket, prefix, endpoint, client)

    def put(self, name: str, content: bytes) -> None:
        """Keep a file: a bucket has all of it, or nothing."""
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        with self._asked(name) as place:
            self.client.put_object(
                **place, Body=content, ContentMD5=base64.b64encode(digest).decode()
            )

    def get(self, name: str) -> bytes:
        """A file as it was put; raises NoFile, StorageAway."""
        with self._asked(name) as place:
            return bytes(self.client.get_object(**place)["Body"].read())

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        try:
            with self._asked(name) as place:
                self.client.head_object(**place)
        except NoFile:
            return False
        return True

    def older(self, than: datetime) -> Iterator[str]:
        """The names of files that were put before a time and not again since."""
        prefix = f"{self.prefix}/" if self.prefix else ""
        pages = self.client.get_paginator("list_objects_v2")
        with self._told():
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", []):
                    name = found["Key"].rpartition("/")[2]
                    ours = is_name(name) and found["Key"] == prefix + path_of(name)
                    if ours and found["LastModified"] < than:
                        yield name

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        with self._asked(name) as place:
            self.client.delete_object(**place)

    def __str__(self) -> str:
        at = "" if self.endpoint is None else f" at {self.endpoint}"
        return f"bucket {'/'.join(filter(None, (self.bucket, self.prefix)))}{at}"

    @contextmanager
    def _asked(self, name: str) -> Iterator[dict[str, str]]:
        """Yield a file's place in the bucket; raises StorageAway, NoFile."""
        key = "/".join(filter(None, (self.prefix, path_of(name))))
        with self._told(name):
            yield {"Bucket": self.bucket, "Key": key}

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in ("NoSuchKey", "404"):  # the latter where there is no body
                raise NoFile(
                    f"file {name} is not in {self}: restore it from a backup"
                ) from error
            remedy = _REMEDIES.get(code, "see to its log")
            raise StorageAway(f"{self} refuses ({code}): {remedy}") from error
        except NoCredentialsError as error:
            raise StorageAway(f"{self} needs credentials: {_CREDENTIALS}") from error
        except BotoCoreError as error:
            raise StorageAway(
                f"{self} cannot be reached ({type(error).__name__}): see whether it "
                "runs, and to [documents] endpoint and region"
            ) from error

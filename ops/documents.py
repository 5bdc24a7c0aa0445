"""From settings to where documents are kept."""

import threading
from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.documents import Documents, Quota
from commands.storage import FolderStorage, Storage
from commands.sweeping import sweep_until
from db.engine import connect
from db.registry import Registry
from ops.errors import OperationError
from ops.indexing import declared
from ops.settings import Settings

FOLDER = "documents"


def open_documents(settings: Settings, engine: Engine, registry: Registry) -> Documents:
    """The documents in the database and in the storage of the settings."""
    return Documents(
        engine=engine,
        registry=registry,
        storage=open_storage(settings),
        clock=lambda: datetime.now(UTC),
        max_bytes=settings.api.max_document_bytes,
        quota=Quota(
            settings.documents.of_account, settings.documents.mb_of_account << 20
        ),
    )


def sweep_beside(settings: Settings, url: str) -> None:
    """Sweep orphaned files in a thread for the life of the process.

    Several processes may do so at a time.
    """
    documents = open_documents(settings, connect(url, pool_size=1), declared(settings))
    thread = threading.Thread(
        target=sweep_until,
        args=(documents, threading.Event()),
        name="sweep",
        daemon=True,
    )
    thread.start()


def open_storage(settings: Settings) -> Storage:
    """The bucket of the settings, or a folder of `data_dir`."""
    kept = settings.documents
    if kept.bucket is None:
        return FolderStorage(settings.data_dir / FOLDER)
    try:
        # Large, and nobody needs it who has no bucket.
        from commands.s3 import S3Storage
    except ModuleNotFoundError as error:
        raise OperationError(
            "[documents] names a bucket, and the library for it is not installed: "
            "pip install 'chainfold[s3]'"
        ) from error
    endpoint = None if kept.endpoint is None else str(kept.endpoint)
    return S3Storage.open(
        kept.bucket, prefix=kept.prefix, endpoint=endpoint, region=kept.region
    )

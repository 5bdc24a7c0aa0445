"""From settings to where documents are kept."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
STOP_SECONDS = 5


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


@contextmanager
def sweeping(settings: Settings, url: str) -> Iterator[None]:
    """Sweep files that no document speaks of, in a thread beside."""
    engine, stop = connect(url, pool_size=1), threading.Event()
    documents = open_documents(settings, engine, declared(settings))
    thread = threading.Thread(
        target=sweep_until, args=(documents, stop), name="sweep", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS)
        engine.dispose()


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

"""From settings to where documents are kept."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.documents import Documents
from commands.storage import FolderStorage, Storage
from db.registry import Registry
from ops.errors import OperationError
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
    )


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

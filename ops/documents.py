"""From settings to where documents are kept."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from commands.documents import Documents
from commands.storage import FolderStorage
from db.registry import Registry
from ops.settings import Settings

FOLDER = "documents"


def open_documents(settings: Settings, engine: Engine, registry: Registry) -> Documents:
    """The documents in the database and in a folder of `data_dir`."""
    return Documents(
        engine=engine,
        registry=registry,
        storage=FolderStorage(settings.data_dir / FOLDER),
        clock=lambda: datetime.now(UTC),
        max_bytes=settings.api.max_document_bytes,
    )

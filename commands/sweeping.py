"""Orphaned files: stored for documents that were never recorded."""

import logging
import threading
from datetime import timedelta

from commands.documents import Documents
from commands.storage import StorageAway
from db.documents.kyc import is_kept
from db.engine import Unavailable, lock_file

# Long enough to notice that a wrong backup of the database was restored.
AGE = timedelta(days=7)
EVERY_SECONDS = 3600.0

log = logging.getLogger(__name__)


def sweep(documents: Documents) -> int:
    """Delete orphaned files older than an age; returns their number."""
    swept = 0
    for name in list(documents.storage.older(documents.clock() - AGE)):
        with documents.engine.begin() as connection:
            # Nobody may be handing the same file in again.
            lock_file(connection, name)
            if not is_kept(connection, bytes.fromhex(name)):
                documents.storage.delete(name)
                swept += 1
    return swept


def sweep_until(documents: Documents, stop: threading.Event) -> None:
    """Sweep periodically until stopped."""
    while not stop.is_set():
        try:
            if swept := sweep(documents):
                log.info("documents_swept files=%d", swept)
        except (StorageAway, *Unavailable) as error:
            log.warning("documents_not_swept cause=%s", type(error).__name__)
        except Exception:  # it is tidying up, and must not end what it is beside
            log.exception("documents_not_swept")
        stop.wait(EVERY_SECONDS)

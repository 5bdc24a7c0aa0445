"""Metrics that are read from Postgres at each scrape."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.service import Service
from db.reads import ReadError

log = logging.getLogger(__name__)


class DatabaseCollector(Collector):
    """Metrics of what the database holds; none while it does not answer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        try:
            found = list(self.read())
        except ReadError as error:
            log.warning("metrics_without_database cause=%s", type(error).__name__)
            found = self.unread()
        yield from found

    @abstractmethod
    def read(self) -> Iterator[Metric]:
        """Yield the metrics; raises ReadError while the database does not answer."""

    def unread(self) -> list[Metric]:
        """Return the metrics without a database."""
        return []

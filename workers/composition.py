"""The composition root of the workers: settings become the tasks' services, once a process."""

from __future__ import annotations

import os

from celery import Celery

import storage.accesses
import storage.reading
import storage.store  # noqa: F401  # these three: once, before the processes of a pool are forked (storage/equipment.py)
from config.settings import Settings
from storage.layout import DataFolder
from tasks.heart import Heart
from tasks.owner import mark_leaving, new_name
from tasks.services import Services
from workers import garbage
from workers.app_broker import AppBroker
from workers.backups import backup_place, ping_url_of
from workers.prepare import make_engine


class ProcessServices:
    """Gives each process services of its own: a prefork child must not use what its parent opened.

    Made in a worker's main process, whose children inherit the worker's name.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._broker = AppBroker(app)
        self._settings = settings
        self._worker = new_name()
        self._pid = 0
        self._services: Services | None = None
        self._beats = False

    def __call__(self) -> Services:
        """Return this process's services; the first call opens the data folder."""
        if self._services is None or self._pid != os.getpid():
            settings = self._settings
            engine = make_engine(settings).open()
            services = Services(
                engine,
                self._broker,
                settings.max_attempts,
                settings.kind_limits,
                worker=self._worker,
                place=backup_place(settings),
                ping_url=ping_url_of(settings),
            )
            if self._beats:
                Heart(services).start()  # a process whose heart does not start must not get any further
            self._services, self._pid = services, os.getpid()
            garbage.settle()
        return self._services

    def begin_process(self) -> None:
        """Open the data folder in a pool process as soon as it starts, and keep a heart beating in it.

        A folder that cannot be opened yet is tried again by each task.
        """
        self._beats = True
        self()

    def leave(self) -> None:
        """Note, in the worker's main process, that its operator stops it."""
        mark_leaving(DataFolder(self._settings.data_dir).run / "workers", self._worker)

"""A story's stage: a worker in this process and a mail server that journals, on whichever servers the settings name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from scripts.sink import Behaviour, Sink
from store.connection import pool
from tests.stories.telling import OPENING_DAY, Server, Story
from workers.process import working
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import date
    from pathlib import Path

# A tale about silence has shorter times of its own, and waits for nobody.
SETTINGS: Final = Settings(lease_s=10, answer_s=5, quarantine_s=30, hint_s=2)
_IDLE_MS: Final = 20


@contextmanager
def staged(
    settings: Settings, folder: Path, *, opened_on: date = OPENING_DAY, audited_days: int = 60
) -> Generator[Story]:
    """A story that begins on that day; its mails go to the folder."""
    server = Server()
    with (
        Sink(folder / "sink", behaviour=Behaviour(verdict=server.verdict)) as sink,
        pool(settings.database_url, actor="scheduler:story:1", size=2) as connections,
    ):
        told = Story(
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            settings=settings,
            pool=connections,
            sink=sink,
            server=server,
        ).open(opened_on)
        with working(settings, threads=2, idle_ms=_IDLE_MS):
            yield told
        told.end(audited_days)

"""A story's stage: a database and a Valkey of its own, a worker in this process, a mail server that journals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from scripts.sink import Behaviour, Sink
from store.connection import pool
from tests.stories.telling import Server, Story
from workers.process import working
from workers.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def settings() -> Settings:
    """A tale about silence has shorter times of its own."""
    return Settings(lease_s=10, answer_s=5, quarantine_s=30, hint_s=2)


@pytest.fixture
def story(database_url: str, redis_url: str, tmp_path: Path, settings: Settings) -> Generator[Story]:
    settings = replace(settings, database_url=database_url, redis_url=redis_url)
    server = Server()
    with (
        Sink(tmp_path / "sink", behaviour=Behaviour(verdict=server.verdict)) as sink,
        pool(database_url, actor="scheduler:story:1", size=2) as connections,
    ):
        told = Story(
            database_url=database_url,
            redis_url=redis_url,
            settings=settings,
            pool=connections,
            sink=sink,
            server=server,
        ).open()
        with working(settings, threads=2):
            yield told
        told.end()

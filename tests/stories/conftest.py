"""Each story has a stage to itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.stories.staging import SETTINGS, staged

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.stories.telling import Story
    from workers.settings import Settings


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
def story(database_url: str, redis_url: str, tmp_path: Path, settings: Settings) -> Generator[Story]:
    with staged(replace(settings, database_url=database_url, redis_url=redis_url), tmp_path) as told:
        yield told

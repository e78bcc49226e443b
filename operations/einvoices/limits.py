"""What reading one document may cost."""

from typing import Final

LARGEST: Final = 10 * 1024 * 1024  # what the database keeps of one original
MEMORY_BYTES: Final = 512 * 1024 * 1024
CPU_S: Final = 10

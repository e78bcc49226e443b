"""Where the files lie that travel with the program: schema.sql, migrations/ and templates/."""

from pathlib import Path

_ABOVE_STORE = Path(__file__).resolve().parent.parent


def shipped(name: str) -> Path:
    """Return the file or folder of that name, in a checkout as in an installed wheel.

    A wheel keeps them in `relance_files/` beside the packages, so that no other distribution's `templates/` is taken
    for ours; a checkout has them beside the packages themselves. Raises FileNotFoundError when neither has it.
    """
    for root in (_ABOVE_STORE / "relance_files", _ABOVE_STORE):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"{name} is not shipped with this installation (looked beside {_ABOVE_STORE / 'store'})")

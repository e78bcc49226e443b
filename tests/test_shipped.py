import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from store import shipped as shipped_module
from store.shipped import shipped

ASK = "import sys; from store.shipped import shipped; print(shipped(sys.argv[1]))"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder that holds nothing but a copy of the module, as a checkout or site-packages would."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "__init__.py").touch()
    shutil.copy(shipped_module.__file__, tmp_path / "store" / "shipped.py")
    return tmp_path


def asked(root: Path, name: str) -> str:
    answer = subprocess.run([sys.executable, "-c", ASK, name], cwd=root, check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def test_a_checkout_has_them_beside_the_packages(root: Path) -> None:
    (root / "schema.sql").touch()
    assert asked(root, "schema.sql") == str(root / "schema.sql")


def test_an_installed_wheel_never_takes_another_distributions_folder_for_ours(root: Path) -> None:
    (root / "templates").mkdir()
    (root / "relance_files" / "templates").mkdir(parents=True)
    assert asked(root, "templates") == str(root / "relance_files" / "templates")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.sql is not shipped"):
        shipped("nowhere.sql")

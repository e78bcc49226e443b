import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
TRAVELLERS = ("schema.sql", "migrations", "templates")


def spoken(name: str) -> str:
    """Return a distribution's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([shutil.which("git") or "git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    return [
        ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists()
    ]


def travelling() -> set[str]:
    files = [path for name in TRAVELLERS for path in (ROOT / name, *(ROOT / name).rglob("*")) if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_every_locked_version_has_its_hashes() -> None:
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_the_lock_leaves_the_choice_of_the_registry_to_the_machine() -> None:
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--extra-index" not in LOCK
    assert "--find-links" not in LOCK
    assert "file:" not in LOCK


def test_the_lock_holds_everything_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK, flags=re.MULTILINE))
    assert {spoken(re.split(r"[^\w.-]", line)[0]) for line in asked} <= locked


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_the_ways_in_are_executable_and_parse(script: str) -> None:
    shell = {"run": "sh", ".ci/run": "bash"}[script]
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run([shutil.which(shell) or shell, "-n", ROOT / script], check=True)


def test_no_file_names_a_place_of_one_machine() -> None:
    places = r"work|root|home/\w+|opt/wheels|opt/pypi"
    needle = re.compile(rf"(?<![\w.*$}}~-])/(?:{places})/".encode())
    assert needle.search(b"see /" + b"root/x")
    guilty = [str(path) for path in tracked() if path.is_file() and needle.search(path.read_bytes())]
    assert guilty == []


def test_a_wheel_installs_into_an_empty_environment_with_all_that_travels(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("relance-*.whl")
    with zipfile.ZipFile(wheel) as content:
        shipped = {
            name.removeprefix("relance_files/") for name in content.namelist() if name.startswith("relance_files")
        }
    assert shipped == travelling()

    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "-q", "--no-index", "--no-deps", wheel], check=True)
    ask = "import sys; from store.shipped import shipped; print(*(shipped(name).exists() for name in sys.argv[1:]))"
    answer = subprocess.run(
        [python, "-I", "-c", ask, *TRAVELLERS], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["True", "True", "True"]
    assert (tmp_path / "empty" / "bin" / "relance").exists()

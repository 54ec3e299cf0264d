"""What reaches a user: the locks, the wheel, the source distribution, and the settings of the containers.

Rules of this file: no network; a wheel and a source distribution are made from the checkout alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import camomile_trio
from camomile_trio.cli import camomile

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parent.parent
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--quiet", "--no-index", "--no-deps")
LOCKS = ("build", "run", "dev")
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
# Of deploy/compose.yaml itself, not of the node.
SETTINGS_OF_COMPOSE = {"CAMOMILE_IMAGE", "CAMOMILE_BASE", "CAMOMILE_PUBLISH", "CAMOMILE_MEMORY"}


def locked(name: str) -> dict[str, str]:
    """The versions that a lock pins, by name."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8").splitlines()
    found = [match.groups() for line in lines if (match := PINNED.match(line))]
    return {package: version for package, version, _ in found}


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_pins_hashes_and_remarks_and_names_no_host(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    assert locked(name)
    for line in text.splitlines():
        assert not line.strip() or line.lstrip().startswith("#") or PINNED.match(line) or HASH.match(line), line
    assert "://" not in text
    assert "/home/" not in text


def test_the_locks_hold_what_the_project_asks_for_and_agree_with_each_other() -> None:
    asked = project()
    assert isinstance(asked["dependencies"], list)
    assert isinstance(asked["optional-dependencies"], dict)
    wanted = {"run": asked["dependencies"], "dev": asked["dependencies"] + asked["optional-dependencies"]["dev"]}
    for name, requirements in wanted.items():
        pins = locked(name)
        for requirement in map(Requirement, requirements):
            version = pins.get(requirement.name.lower().replace("_", "-"))
            assert version is not None, f"{requirement} is not in requirements/{name}.txt: run `make lock`"
            assert requirement.specifier.contains(version), requirement
    everything = locked("dev")
    assert locked("run").items() <= everything.items()
    assert locked("build").items() <= everything.items()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout, as `pip install .` does it."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", str(directory), str(ROOT)], check=True, timeout=60
    )
    (built,) = directory.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = ROOT / "camomile_trio"
    there = {path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file()}
    assert packed == {name for name in there if "__pycache__" not in name}
    assert "camomile_trio/py.typed" in packed


def test_an_installed_wheel_gives_the_command_and_its_version(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    subprocess.run([*PIP, "install", *OFFLINE, "--target", str(target), str(wheel)], check=True, timeout=60)
    for command in ([str(target / "bin" / "camomile")], ["-m", "camomile_trio"]):
        said = subprocess.run(
            [sys.executable, *command, "--version"],
            env={"PYTHONPATH": str(target), "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert said.stdout.split() == ["camomile", project()["version"]]


def source_distribution(tree: Path, directory: Path) -> Path:
    """Made from `tree`, and unpacked below `directory`."""
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(directory), str(tree)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=60)
    (packed,) = directory.glob("*.tar.gz")
    # Not by tarfile: Python 3.11.2 does not know the filter that 3.12 asks for.
    subprocess.run(["tar", "-xzf", str(packed), "-C", str(directory)], check=True, timeout=60)
    return directory / packed.name.removesuffix(".tar.gz")


def files_of(tree: Path) -> set[str]:
    return {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_distribution(ROOT, tmp_path_factory.mktemp("sdist"))


def in_git(*options: str) -> set[str]:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout
    return {name for name in said.split("\0") if (ROOT / name).is_file()}


def test_the_source_distribution_holds_every_file_of_the_repository_and_nothing_else(unpacked: Path) -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout, or git is not installed: nothing says which files belong to the repository")
    packed = files_of(unpacked)
    assert in_git() <= packed
    assert packed <= in_git("--cached", "--others", "--exclude-standard") | {"PKG-INFO"}


def test_what_a_day_of_work_leaves_behind_is_not_packed(unpacked: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(unpacked, tree)
    for left in (
        "tests/__pycache__/a.pyc",
        "camomile_trio/http/__pycache__/a.pyc",
        "deploy/wheels/a-1-any.whl",
        "x.log",
    ):
        (tree / left).parent.mkdir(exist_ok=True)
        (tree / left).touch()
    assert files_of(source_distribution(tree, tmp_path / "again")) == files_of(unpacked)


def test_the_tests_of_the_source_distribution_find_all_that_they_import_and_read(unpacked: Path) -> None:
    # Assertions that do not say what they found: to rewrite those of all tests takes longer than all of the rest.
    pytest_there = [sys.executable, "-m", "pytest", "-q", "--assert=plain", "-p", "no:cacheprovider"]
    for arguments in (["--collect-only", "tests"], ["tests/docs/test_mentions.py"]):
        command = [*pytest_there, *arguments]
        done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-4000:]


def test_the_package_knows_its_version() -> None:
    assert camomile_trio.__version__ == project()["version"]


def test_no_container_has_a_volume_without_a_name() -> None:
    """Nobody removes these once their container is gone, and nobody knows then whose they were."""
    assert "VOLUME" not in (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
    compose = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    lists = "".join(re.findall(r"^    volumes:\n((?:      .*\n)+)", compose, re.MULTILINE))
    mounted = re.findall(r"^ +- (\S+)$", lists, re.MULTILINE)
    named = set(re.findall(r"^  (\S+):$", compose.partition("\nvolumes:\n")[2], re.MULTILINE))
    assert len(mounted) == 7
    assert {volume.partition(":")[0] for volume in mounted} == named


def test_the_containers_use_only_settings_that_a_node_has() -> None:
    texts = [(ROOT / "deploy" / name).read_text("utf-8") for name in ("Dockerfile", "compose.yaml")]
    used = set(re.findall(r"CAMOMILE_[A-Z_]+", "".join(texts))) - SETTINGS_OF_COMPOSE
    known = {parameter.envvar for parameter in camomile.commands["node"].params}
    assert {"CAMOMILE_JOIN", "CAMOMILE_HTTP"} <= used
    assert used <= known


def test_every_replica_has_bounds_and_knobs_of_the_compose_file_are_described() -> None:
    compose = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    replica = compose.partition("x-replica:")[2].partition("\nservices:")[0]
    for bound in ("mem_limit: ", "pids_limit: ", "nofile: "):
        assert bound in replica
    described = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("## In containers")[2]
    rows = dict(re.findall(r"^\| `(CAMOMILE_[A-Z]+)` \| (\S+) \|", described, flags=re.MULTILINE))
    assert rows == dict(re.findall(r"\$\{(\w+):-([^}]+)\}", compose))

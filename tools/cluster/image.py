"""The image that replicas run: from a registry's base image, or from one made here out of Debian's packages.

Rules of this file: it works without an image registry, and without a package registry inside the build's network, as
long as this machine itself reaches packages. What it makes is left in the engine, so that the next run starts sooner.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys

from tools.cluster.engine import COMPOSE_FILE, ROOT, EngineError, compose_command, docker, has_image, run

OFFICIAL_BASE = "python:3.13-slim"
OWN_BASE = "camomile-base:trixie"
PYTHON = "3.13"  # of both
IMAGE = "camomile:cluster-tests"
WHEELS = ROOT / "deploy" / "wheels"
PASSED_TO_BUILDS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")


def base_image() -> str:
    """The name of a base image that is now in the engine."""
    wanted = os.environ.get("CAMOMILE_BASE")
    for name in [wanted] if wanted else [OFFICIAL_BASE, OWN_BASE]:
        if has_image(name):
            return name
    try:
        docker("pull", "--quiet", wanted or OFFICIAL_BASE, within=180)
        return wanted or OFFICIAL_BASE
    except EngineError as error:
        if wanted:
            raise
        print(
            f"cluster: no image registry ({_last_line(error)}); making a base image from Debian's packages", flush=True
        )
    _install_debootstrap()
    run([str(ROOT / "deploy" / "base-image.sh"), OWN_BASE], within=600, shown=True)
    return OWN_BASE


def build() -> str:
    """Builds the image; its name. When the build's network reaches no package registry, this machine fetches."""
    base = base_image()
    try:
        _build(base)
    except EngineError as error:
        # Wheels that were fetched for another Python are as good as none.
        if any(WHEELS.glob(f"*-cp{PYTHON.replace('.', '')}-*.whl")):
            raise
        print(
            f"cluster: the build failed ({_last_line(error)}); trying with wheels fetched by this machine", flush=True
        )
        _fetch_wheels()
        _build(base)
    return IMAGE


def _build(base: str) -> None:
    arguments = [part for name in PASSED_TO_BUILDS if os.environ.get(name) for part in ("--build-arg", name)]
    environment = {"CAMOMILE_BASE": base, "CAMOMILE_IMAGE": IMAGE}
    # One service is enough: both have the same image.
    command = [*compose_command(), "-f", str(COMPOSE_FILE), "build", *_named_values(arguments), "bootstrap"]
    run(command, within=900, env=environment)


def _named_values(arguments: list[str]) -> list[str]:
    """docker-compose 1.29 wants NAME=VALUE where docker takes the value from the environment."""
    return [part if part.startswith("--") else f"{part}={os.environ[part]}" for part in arguments]


def _fetch_wheels() -> None:
    """Fills deploy/wheels with what the image's Python on Linux installs, every file checked by its hash."""
    machine = platform.machine()
    platforms = [f"manylinux{kind}_{machine}" for kind in ("2014", "_2_17", "_2_28", "_2_34")]
    run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--require-hashes"),
            *("--only-binary", ":all:", "--no-deps", "--implementation", "cp", "--python-version", PYTHON),
            *(part for name in platforms for part in ("--platform", name)),
            *("-r", "requirements/build.txt", "-r", "requirements/run.txt", "--dest", str(WHEELS)),
        ],
        within=300,
    )


def _install_debootstrap() -> None:
    """Where this is allowed, saves a person (or a CI machine) one step; else base-image.sh says what is missing."""
    if shutil.which("debootstrap") is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        run(["apt-get", "update", "-qq"], within=180)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"], within=180)


def _last_line(error: EngineError) -> str:
    return str(error).strip().splitlines()[-1]

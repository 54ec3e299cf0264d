"""Commands of the container engine and of Compose, each within a bound.

Rules of this file: a command that fails or takes too long is an EngineError that says which one and what it printed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE_FILE = ROOT / "deploy" / "compose.yaml"
SHOWN_OF_FAILURE = 4000  # characters of a failed command's output, from the end


class EngineError(Exception):
    """The container engine, or Compose, did not do what it was asked."""


def run(command: list[str], *, within: float, env: Mapping[str, str] | None = None, shown: bool = False) -> str:
    """What `command` printed. `within` is in seconds; `shown` lets its output through to the terminal instead."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.PIPE,
            text=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{' '.join(command[:6])} took more than {within:g} s") from None
    except OSError as error:
        raise EngineError(f"{command[0]} cannot be run: {error}") from None
    if done.returncode:
        said = "" if shown else (done.stdout + done.stderr).strip()[-SHOWN_OF_FAILURE:]
        raise EngineError(f"{' '.join(command[:6])} ended with {done.returncode}" + (f":\n{said}" if said else ""))
    return done.stdout or ""


def docker(*arguments: str, within: float = 60) -> str:
    return run(["docker", *arguments], within=within)


def compose_command() -> list[str]:
    """`docker compose` where it is there, else docker-compose."""
    try:
        docker("compose", "version", within=20)
    except EngineError:
        if shutil.which("docker-compose") is None:
            raise EngineError("neither `docker compose` nor docker-compose is installed") from None
        return ["docker-compose"]
    return ["docker", "compose"]


def check_engine() -> None:
    """Raises EngineError unless an engine answers."""
    docker("info", "--format", "{{.ServerVersion}}", within=20)


def has_image(name: str) -> bool:
    try:
        docker("image", "inspect", "--format", "{{.Id}}", name)
    except EngineError:
        return False
    return True

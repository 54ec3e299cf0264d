"""Files with secrets in them, as a user makes them who follows the documents."""

from __future__ import annotations

from pathlib import Path


def secret_file(path: Path, content: bytes) -> Path:
    """Writes a file of mode 0600 and returns its path."""
    path.touch(0o600)
    path.write_bytes(content)
    return path

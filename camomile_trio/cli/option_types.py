"""What may stand behind an option: sizes, addresses, names, keys.

Rules of this file: a type turns one word into one checked value, or fails with a line that says how to write it. An
option's environment variable is CAMOMILE_ and its long name, with _FILE behind it where it would look like the place of
a secret itself; a list in one is split at white space and commas.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from camomile_trio.config import GIB, KIB, LEAST_LEASE, MAX_LEASE, MIB, QUOTES, TIB, flaw_of_name, number_text
from camomile_trio.errors import BadKey, ConfigError
from camomile_trio.kademlia.contacts import Endpoint, is_sensible
from camomile_trio.kademlia.ids import ID_BYTES, Key

Decorated = TypeVar("Decorated", bound=Callable[..., object])

ENVIRONMENT_PREFIX = "CAMOMILE_"
LEAST_PATIENCE, MOST_PATIENCE = 0.1, 3600.0  # seconds
LEAST_DIGITS = 4  # of an id that is shortened
_UNITS = {
    "": 1, "B": 1,
    "KIB": KIB, "MIB": MIB, "GIB": GIB, "TIB": TIB,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip


def option(*declarations: str, suffix: str = "", **settings: Any) -> Callable[[Decorated], Decorated]:
    """`click.option` with its environment variable, whose name may get a `suffix`, and its default in the help."""
    long_name = next(each for each in declarations if each.startswith("--")).partition("/")[0]
    variable = ENVIRONMENT_PREFIX + long_name[2:].replace("-", "_").upper() + suffix
    shows_default = settings.get("default") is not None and not settings.get("is_flag")
    return click.option(
        *declarations,
        envvar=variable,
        show_envvar=True,
        show_default=settings.pop("show_default", shows_default),
        **settings,
    )


def with_our_options(command: click.Command) -> click.Command:
    """The command of another room, whose options get what `option` and `PlainPath` give to ours."""
    for each in command.params:
        if not isinstance(each, click.Option):
            continue
        each.envvar = ENVIRONMENT_PREFIX + each.opts[-1].removeprefix("--").replace("-", "_").upper()
        each.show_envvar = True
        each.show_default = each.show_default or (each.default is not None and not each.is_flag)
        if type(each.type) is click.Path:
            path = each.type
            each.type = PlainPath(dir_okay=path.dir_okay, file_okay=path.file_okay, path_type=Path)
    return command


class Size(click.ParamType[int]):
    """A number of bytes: 1GiB, 64KiB, 500MB, 4096."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)", value.strip(), re.ASCII)
        factor = _UNITS.get(match[2].upper()) if match else None
        if match is None or factor is None:
            self.fail(f"{value!r} is no size; write 1GiB, 64KiB, 500MB, or a number of bytes", param, ctx)
        number, _, fraction = match[1].partition(".")
        scale: int = 10 ** len(fraction)
        return int(number) * factor + int(fraction or "0") * factor // scale


class Life(click.ParamType[float]):
    """Seconds that a value may live: a least and a longest time are constants of the network."""

    name = "s"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not LEAST_LEASE <= seconds <= MAX_LEASE:
            self.fail(f"a value lives {LEAST_LEASE} to {MAX_LEASE} s, not {number_text(seconds)}", param, ctx)
        return seconds


class Patience(click.ParamType[float]):
    """Seconds that a command waits for a node."""

    name = "seconds"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not LEAST_PATIENCE <= seconds <= MOST_PATIENCE:
            least, most = number_text(LEAST_PATIENCE), number_text(MOST_PATIENCE)
            self.fail(f"{str(value)[:80]!r} is no time to wait; write {least} to {most} seconds", param, ctx)
        return seconds


class SocketAddress(click.ParamType[Endpoint]):
    """An ip and a port to bind to: 127.0.0.1:8080, [::]:8118. Port 0 takes a free one.

    Of names only `localhost` is taken, for 127.0.0.1, and no resolver is asked (RFC 6761 §6.3). It is one address,
    since a node listens on one; clients that find ::1 first go on to 127.0.0.1.
    """

    name = "host:port"

    def convert(self, value: str | Endpoint, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        if isinstance(value, Endpoint):
            return value
        host, _, port = value.rpartition(":")
        if not host and port.isdecimal():
            self.fail(
                f"{value!r} names no address; write 127.0.0.1:{port} for this machine only, 0.0.0.0:{port} or"
                f" [::]:{port} for all of its addresses",
                param,
                ctx,
            )
        try:
            return Endpoint.parse(f"127.0.0.1:{port}" if host.lower() == "localhost" else value)
        except ConfigError as error:
            self.fail(f"{error}; {error.remedy}", param, ctx)


class ReachableAddress(SocketAddress):
    """An address at which others can reach us: never port 0 or an unspecified one."""

    def convert(self, value: str | Endpoint, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        endpoint = super().convert(value, param, ctx)
        if not is_sensible(endpoint):
            self.fail(f"nobody can reach {endpoint}; write the address and port that peers should use", param, ctx)
        return endpoint


def _listed(text: str) -> list[str]:
    """The words of a list in the environment."""
    return [word for word in re.split(r"[\s,]+", text) if word]


class PeerNames(click.ParamType[str]):
    """HOST:PORT or HOST:PORT#KEY of a node, a name or an address, of a form that a resolver takes.

    Config checks the port and the key.
    """

    name = "host:port[#key]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        host = value.partition("#")[0].rpartition(":")[0]
        try:
            host.encode("idna")
            usable = host.isprintable() and not QUOTES & set(host)
        except UnicodeError:
            usable = False
        if not usable:
            self.fail(f"{value[:80]!r} holds no name of a host; write node.example.org:8118", param, ctx)
        return value

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return _listed(rv)


class HostNames(click.ParamType[str]):
    """A name of this machine, as clients write it into addresses: node.example. HttpSettings checks it."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return _listed(rv)


class TrustedNetwork(click.ParamType[str]):
    """A network in CIDR notation: 203.0.113.0/24. Config checks it."""

    name = "cidr"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return _listed(rv)


class Name(click.ParamType[str]):
    """A name that all who mean the same have to write the same way."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if flaw := flaw_of_name(value):
            self.fail(f"{value[:80]!r} is no name: {flaw}; write the plain name and nothing else", param, ctx)
        return value


class PlainPath(click.Path):
    """A path as people write one. What is not there would be made under a name that only looks right.

    `-` is a standard stream where the option takes one, and is refused elsewhere.
    """

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        text = os.fspath(value)
        controls = any(unicodedata.category(letter) == "Cc" for letter in text)
        if controls or text != text.strip() or QUOTES & {*text[:1], *text[-1:]}:
            self.fail(
                f"{text[:200]!r} has quotes or blanks around it, or a control character; write the plain path",
                param,
                ctx,
            )
        if text == "-" and not self.allow_dash:
            self.fail("- stands for a standard stream, and this has to be a path", param, ctx)
        return super().convert(value, param, ctx)


class TokenFile(PlainPath):
    """A file with a token. What names no file may be the token itself, and is not repeated."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if not os.path.lexists(value):
            self.fail("there is no such file; write the token into a file, and give the name of the file", param, ctx)
        return super().convert(value, param, ctx)


class KeyFile(PlainPath):
    """A file with a key, which may still have to be made. What looks like a key itself is not repeated."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if re.fullmatch(r"\W*[0-9A-Fa-f]{64}\W*", os.fspath(value)):
            self.fail("this is a key, and not the name of a file with one", param, ctx)
        return super().convert(value, param, ctx)


FILE = PlainPath(dir_okay=False, path_type=Path)
FILE_OR_STREAM = PlainPath(dir_okay=False, path_type=Path, allow_dash=True)
STREAM = Path("-")  # what FILE_OR_STREAM makes of -: standard input or output
TOKEN_FILE = TokenFile(dir_okay=False, path_type=Path)
KEY_FILE = KeyFile(dir_okay=False, path_type=Path)
DIRECTORY = PlainPath(file_okay=False, path_type=Path)


class NodeUrl(click.ParamType[str]):
    """Where a node's HTTP answers: http://127.0.0.1:8080."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parts = urlsplit(value)
            # The splitter itself drops some characters that cannot be seen.
            is_visible = value.isprintable() and " " not in value
            usable = is_visible and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        except ValueError:
            usable = plain = False
        if not usable or not plain:
            # What stands before an @ may be a password.
            shown = re.sub(r"//.*@", "//…@", value, flags=re.DOTALL)
            self.fail(f"{shown!r} is no address of a node; write http://127.0.0.1:8080", param, ctx)
        return value.rstrip("/")


class KeyOfValue(click.ParamType[Key]):
    """64 hexadecimal digits, as `camomile put` prints them."""

    name = "key"

    def convert(self, value: str | Key, param: click.Parameter | None, ctx: click.Context | None) -> Key:
        if isinstance(value, Key):
            return value
        try:
            # A key is often copied from a Location header, slash and all.
            return Key.parse(value.removeprefix("/"))
        except BadKey as error:
            self.fail(f"{error}; {error.remedy}", param, ctx)


class IdOfNode(click.ParamType[str]):
    """An id as `camomile peers` shows it, or its first digits; as lower case digits."""

    name = "node_id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(f"[0-9A-Fa-f]{{{LEAST_DIGITS},{2 * ID_BYTES}}}", value):
            self.fail(
                f"{value[:80]!r} is no node's id; give the 64 hexadecimal digits of `camomile peers`, or the first"
                f" {LEAST_DIGITS} or more of them",
                param,
                ctx,
            )
        return value.lower()

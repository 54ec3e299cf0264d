"""The `camomile` command.

Rules of this package: it stands right of everything and nothing imports it. It turns words of a command line or an
environment into a Config, runs what others wrote, and turns their errors into one line and an exit code
(`failures.py`). It decides nothing about the network. Heavy modules are imported by the command that needs them, when
it runs: fifty processes start at once on a small machine, and `camomile get` should not load a server.
Before it loads anything slow, `main` makes the process one that can be told to stop.
"""

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from camomile_trio.cli.command import camomile

__all__ = ["camomile", "main"]


def main() -> NoReturn:
    """The entry point of the installed `camomile` command."""
    from camomile_trio.cli.standard_streams import fill_in_missing
    from camomile_trio.cli.stop_signals import StopSignals

    fill_in_missing()
    signals = StopSignals()
    signals.catch()

    from camomile_trio.cli.command import camomile

    camomile.main(obj=signals)


def __getattr__(name: str) -> object:
    if name == "camomile":
        from camomile_trio.cli import command

        return command.camomile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

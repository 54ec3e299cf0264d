"""The `camomile` command.

Rules of this package: it stands right of everything and nothing imports it. It turns words of a command line or an
environment into a Config, runs what others wrote, and turns their errors into one line and an exit code: 0 done, 1
failed, 2 misused. It decides nothing about the network. Heavy modules are imported by the command that needs them, when
it runs: fifty processes start at once on a small machine, and `camomile get` should not load a server.
"""

from camomile_trio.cli.command import camomile, main

__all__ = ["camomile", "main"]

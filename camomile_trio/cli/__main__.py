"""`python -m camomile_trio.cli`: the `camomile` command where it is not installed."""

from camomile_trio.cli import main

main()

"""`python -m camomile_trio`: the `camomile` command where it is not installed."""

from camomile_trio.cli import main

main()

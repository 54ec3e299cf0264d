"""Kills all nodes of a real network at once, again and again, under writes, and looks for every acknowledged value.

Rules of this directory: real processes on loopback, real disks, SIGKILL. `forge.py` makes the processes, `trial.py` is
the experiment, `python -m tools.kills` runs it at length; tests/cli/test_kills.py runs a few of the same.
"""

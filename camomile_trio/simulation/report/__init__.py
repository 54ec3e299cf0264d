"""The report of simulated runs: one HTML page that needs nothing else.

Rules of this room: it reads `Outcome`s and knows no world; the same outcomes give the same page, byte for byte. What
was not measured is left out and said so, never drawn as zero.
"""

from __future__ import annotations

from camomile_trio.simulation.report.page import write_report

__all__ = ["write_report"]

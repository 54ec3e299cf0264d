"""Measurements of whole networks beside their peers (`make bench`), and counts that CI holds (`make bench-check`).

Nothing here asserts a time, since machines are noisy: only ratios within one run mean anything, and counts.
"""

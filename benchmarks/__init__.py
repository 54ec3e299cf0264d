"""Measurements of whole networks, run by hand: `make bench`. Nothing here is asserted, since machines are noisy."""

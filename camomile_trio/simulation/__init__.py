"""Whole networks in one process under virtual time: real nodes, a simulated world, and a judge who sees everything.

Rules of this room: nodes run as they ship; only transport, storage, clocks and randomness are swapped. The same seed
gives the same run, bit for bit, so nothing here reads a real clock, draws from an unseeded generator, or walks through
a set.
"""

"""The pure core: what Kademlia and Camomile's records are, apart from any I/O.

Rules of this storey: no async, no trio, no clock, no randomness of its own, no I/O, no protobuf, no crypto library.
Time, random numbers and sizes come in as arguments. Everything is synchronous and decides; the shell in `node/` acts.
"""

"""Camomile in containers, for the tests of tests/cluster: build an image, start replicas, harm them, take all away.

Rules of this package: it knows the product only from outside: deploy/, HTTP, and what a container engine tells. It
imports nothing of camomile_trio. The host sends nothing to a replica's own address, since without the network such an
address leads off the machine: replicas are spoken to by `client_program.py` from a container on their network, or
through the port that bootstrap publishes on 127.0.0.1. Every wait and every loop has a bound.
"""

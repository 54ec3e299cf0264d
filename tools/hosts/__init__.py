"""Hosts on one switch, in this kernel only: network namespaces for tests of real processes, and faults between them.

Rules of this package: it knows nothing of Camomile. Everything happens in `world`'s namespaces, which have no way out:
no address, route or interface of the machine exists there, so whatever is sent stays there, from the driver too. The
kernel itself takes all of it away when the driver ends, however that comes about; no name is left on the machine. Root
is not needed where ordinary users may make user namespaces. Every command of the system is waited for within a bound.

A driver calls `world.run_apart` with its own command; what then runs inside makes `Hosts`.
"""

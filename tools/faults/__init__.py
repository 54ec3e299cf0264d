"""Real faults for real processes: `make test-faults`.

Rules of this package: it knows the product only from outside, as the command `camomile node` and as HTTP; it imports
nothing of camomile_trio. Every node is a process in a host of tools.hosts, so that nothing leaves the machine. A story
does harm, looks, and gives back its figures; what it could not find out is a failure too. Every wait has a bound.
"""

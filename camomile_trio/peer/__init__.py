"""One peer: its handshake, its sessions and requests to it. Knows no records; clocks, randomness and I/O are given."""

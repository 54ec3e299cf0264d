"""One peer: its handshake and its sessions. Knows no records, and does no I/O: clocks and randomness are arguments."""

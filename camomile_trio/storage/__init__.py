"""Where a node keeps what it holds: the seam (base), a journal and SQLite behind it (the embedded default), memory.

Rules of this storey: it stores KeyStates and values and never judges them; the rules of records are in `kademlia/`.
"""

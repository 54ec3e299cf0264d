"""Stories out of the trace of a run: of a key, an operation, a machine.

Rules of this room: it reads a trace and nothing else, and claims nothing that is not in it. It tells in plain words;
how they look on a terminal is the command's business.
"""

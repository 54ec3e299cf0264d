"""The figures of the house that no command can judge, for a reader to look at: `make house`.

Rules of this package: it reads files as text and imports nothing of camomile_trio. It refuses nothing for its size.
tests/test_layering.py, which does refuse, reads imports with the same code.
"""

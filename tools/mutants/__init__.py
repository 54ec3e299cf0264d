"""Deliberate defects of the real code, and what shows that tests and simulation see them."""

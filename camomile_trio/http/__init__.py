"""The REST service of a node on Quart-Trio under Hypercorn, its metrics, and the control socket. Sees only the node."""

"""Moving bytes between endpoints: the seam (base), the real thing (udp, with streams over TCP), a network in one
process (memory).

Rules of this storey: it knows Endpoint and bytes, and nothing of messages, ids or records.
"""

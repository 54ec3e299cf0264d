"""What this node keeps, and under which rules. Knows no network."""

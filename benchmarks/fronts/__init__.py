"""Programs that the harness starts as nodes' processes."""

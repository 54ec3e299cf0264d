"""Speaks with classic Camomile nodes (Go, 2019), where a node is started with `--classic`. See network.py."""

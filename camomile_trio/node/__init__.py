"""The structured shell around the pure core: tasks, requests, lookups, maintenance."""

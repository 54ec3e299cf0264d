"""Put, get, forget and ping for a user: lookups, and records on their way to their holders."""

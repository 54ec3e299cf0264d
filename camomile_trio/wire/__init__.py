"""How messages look on the wire. `codec` is the way in; protobuf stays inside this package."""

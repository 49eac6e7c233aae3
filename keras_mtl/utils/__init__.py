"""Registry, argument checks and type names: what every other part may use."""

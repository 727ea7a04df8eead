"""Pure functions on features: ridge, debias, gating, preference heads, composition."""

"""A server of scores: batching, routes, metrics."""

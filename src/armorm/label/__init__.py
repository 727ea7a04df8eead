"""Labelling: many candidates scored, ranked and written as preference data."""

"""Metrics with intervals, baselines and reports."""

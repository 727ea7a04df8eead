"""Published data sets: one converter each, from their own columns to armorm's rows."""

"""Why one response scores higher than another, for a reader."""

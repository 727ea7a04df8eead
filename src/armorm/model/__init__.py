"""The reward model: backbone plus heads, saved as a bundle."""

"""From conversations to features of a frozen backbone, on disk."""

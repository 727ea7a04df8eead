"""Client of an armorm server, sync and async."""

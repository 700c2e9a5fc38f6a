"""The API server: a session, caches kept by reflectors, bounded writers, events. Nothing of placement."""

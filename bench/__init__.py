"""Measurements of the placement core, each kept beside what it is expected to show. Run `python -m bench`."""

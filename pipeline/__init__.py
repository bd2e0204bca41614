"""Facelake: photo archives of any size into tables of faces."""

__version__ = "0.1.0"

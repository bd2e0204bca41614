"""Weights: bundled, cached or fetched, always checked before they are loaded."""

"""Clustering on arrays alone, without storage and tables."""

"""Measures on arrays alone: curves, folds, intervals, without storage and tables."""

"""Measures of verification, identification, detection and calibration, in NumPy alone."""

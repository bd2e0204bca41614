"""Embedders on OpenVINO, the fastest runtime of CPUs."""

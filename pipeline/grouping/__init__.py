"""Clusters a lake: steps that read arrays from a work folder and leave arrays there, no Ray."""

"""What a run will take.

A sample is chosen and measured, and a cluster's hours, memory and output follow from it by
arithmetic. Knows no Ray.
"""

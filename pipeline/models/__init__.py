"""Networks, weights, detectors and embedders; they know neither Ray nor the lake."""

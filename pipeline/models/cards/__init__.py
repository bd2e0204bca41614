"""What a model is: licence, input, calibrated thresholds, where its weights are."""

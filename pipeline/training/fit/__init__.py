"""The training of a network: steps over batches, on one worker or several."""

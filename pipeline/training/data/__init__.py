"""Faces to train a network on: labels, crops in shards, batches, augmentation."""

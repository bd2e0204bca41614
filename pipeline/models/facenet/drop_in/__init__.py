"""The published interface of facenet-pytorch, on our cascade and our network."""

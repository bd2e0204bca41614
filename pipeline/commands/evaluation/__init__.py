"""The subjects of `facelake evaluate`, and what all of them print and write."""

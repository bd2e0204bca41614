"""Bytes of image files to upright RGB pixels, decoded in a sandbox, and hashes of pictures."""

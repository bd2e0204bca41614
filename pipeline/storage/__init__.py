"""One door to storage: local folders and object stores, asked again when they fail."""

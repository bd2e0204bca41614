"""Names in XMP: sidecars and metadata of other programs, read and written."""

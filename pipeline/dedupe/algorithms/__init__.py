"""Which pictures are copies of which: engines on arrays, without storage, tables or Ray."""

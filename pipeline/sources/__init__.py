"""Where images come from: folders, globs, lists, tar, zip and Parquet shards."""

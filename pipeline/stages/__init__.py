"""The steps of the main job: each a plain callable from Arrow table to Arrow table, without Ray."""

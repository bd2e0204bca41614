"""The API that tells who is on photos, in real time, by a model of `facelake train`."""

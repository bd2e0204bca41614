"""MTCNN on GPUs: photos of many sizes at once, without a copy back between networks."""

"""MTCNN: the cascade that finds faces."""

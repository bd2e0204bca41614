"""InceptionResnetV1 of FaceNet, on torch, OpenVINO and GPUs."""

"""What a user of facenet-pytorch writes here: detect, save crops, embed, compare.

python examples/facenet_users.py
"""

from pathlib import Path

from PIL import Image

from pipeline.models import face_crops, load_detector, load_embedder

photos = Path(__file__).parent / "photos"
images = [Image.open(photos / name) for name in ("obama-2009-speech.jpg", "obama-blue-room.jpg")]

detector, embedder = load_detector(), load_embedder("sface")
first, second = detector.detect(images)  # boxes, scores, landmarks; sizes may differ
detector.crop(images[0], first, size=160, margin_px=14, save_to="crops/speech.png")
a, _ = embedder.embed(face_crops(images[0], first, embedder.card))
b, _ = embedder.embed(face_crops(images[1], second, embedder.card))

print("boxes", first.boxes.round(1).tolist(), "similarity", (a @ b.T).round(2).tolist())

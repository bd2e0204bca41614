"""From a folder of photos to faces, vectors and their distances: what infer.ipynb does.

python examples/facenet/inference.py examples/photos [vggface2 or casia-webface]
"""

import sys
from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pipeline.facenet import MTCNN, InceptionResnetV1


def main(folder: str | Path, pretrained: str = "vggface2") -> pd.DataFrame:
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    mtcnn = MTCNN(
        image_size=160, margin=0, min_face_size=20,
        thresholds=[0.6, 0.7, 0.7], factor=0.709, post_process=True,
        device=device,
    )  # fmt: skip
    resnet = InceptionResnetV1(pretrained=pretrained).eval().to(device)

    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in (".jpg", ".png"))
    aligned, names = [], []
    # photos of different sizes may stand in one batch
    for batch in DataLoader(paths, batch_size=8, collate_fn=list):
        faces, probs = mtcnn([Image.open(path) for path in batch], return_prob=True)
        for path, face, prob in zip(batch, faces, probs, strict=True):
            if face is None:
                print(f"{path.name}: no face")
                continue
            print(f"{path.name}: face with probability {prob[0]:.6f}")
            aligned.append(face)
            names.append(path.stem)

    embeddings = resnet(torch.stack(aligned).to(device)).detach().cpu()
    distances = [[(e1 - e2).norm().item() for e2 in embeddings] for e1 in embeddings]
    return pd.DataFrame(distances, columns=names, index=names)


if __name__ == "__main__":
    print(main(*sys.argv[1:]).round(2).to_string())

"""The accuracy on Labeled Faces in the Wild: what lfw_evaluate.ipynb does.

python examples/facenet/lfw.py LFW PAIRS [vggface2 or casia-webface]

LFW holds Abel_Pacheco/Abel_Pacheco_0001.jpg ..., PAIRS is its pairs.txt.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from pipeline.evaluation.measures.folds import Folds, k_fold
from pipeline.evaluation.truth.pairs import parse_pairs
from pipeline.facenet import MTCNN, InceptionResnetV1


def main(folder: str | Path, pairs: str | Path, pretrained: str = "vggface2") -> Folds:
    """Return accuracy and threshold of each fold, on minus the squared distance."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    mtcnn = MTCNN(image_size=160, margin=14, device=device, selection_method="center_weighted_size")
    resnet = InceptionResnetV1(pretrained=pretrained).eval().to(device)

    rows, _ = parse_pairs(str(pairs))
    names = sorted({name for row in rows for name in (row.a, row.b)})
    photos = {path.stem: path for path in Path(folder).glob("*/*.jpg")}
    vectors = {}
    for batch in DataLoader([name for name in names if name in photos], 16, collate_fn=list):
        crops = mtcnn([Image.open(photos[name]) for name in batch])
        cut = {name: crop for name, crop in zip(batch, crops, strict=True) if crop is not None}
        if cut:
            with torch.no_grad():
                embeddings = resnet(torch.stack(list(cut.values())).to(device)).cpu().numpy()
            vectors |= dict(zip(cut, embeddings, strict=True))

    # a pair with a photo that has no face is wrong; the notebook leaves it out
    scores = np.array([
        -np.square(vectors[row.a] - vectors[row.b]).sum()
        if row.a in vectors and row.b in vectors else np.nan
        for row in rows
    ])  # fmt: skip
    same = np.array([row.same for row in rows])
    _, fold = np.unique([row.fold for row in rows], return_inverse=True)
    folds = k_fold(scores, same, fold)
    print(f"{len(rows)} pairs, {len(vectors)} faces, accuracy {folds.accuracy:.4f}")
    return folds


if __name__ == "__main__":
    main(*sys.argv[1:])

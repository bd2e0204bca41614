"""Teaches the network people of your own, a folder of photos each: what finetune.ipynb does.

python examples/facenet/finetune.py PEOPLE CROPS [vggface2 or casia-webface]

PEOPLE holds Ann/1.jpg, Ann/2.jpg, Bob/1.jpg ...; the faces go to CROPS under the same names.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn, optim
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, Dataset, random_split

from pipeline.facenet import MTCNN, InceptionResnetV1, fixed_image_standardization

ENDINGS = (".jpg", ".jpeg", ".png")


class Faces(Dataset):
    """Crops in folders of people, as standardised tensors with the person's number."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(file for file in folder.glob("*/*") if file.suffix in ENDINGS)
        self.people = sorted({file.parent.name for file in self.files})

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels = torch.from_numpy(np.float32(Image.open(self.files[index]))).permute(2, 0, 1)
        return fixed_image_standardization(pixels), self.people.index(self.files[index].parent.name)


def main(
    photos: str | Path, crops: str | Path, pretrained: str = "vggface2", epochs: int = 8
) -> list[float]:
    """Return the mean loss of each epoch."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    photos, crops = Path(photos), Path(crops)

    mtcnn = MTCNN(image_size=160, margin=0, min_face_size=20, device=device)
    files = sorted(file for file in photos.glob("*/*") if file.suffix.lower() in ENDINGS)
    for batch in DataLoader(files, batch_size=16, collate_fn=list):
        paths = [crops / file.relative_to(photos).with_suffix(".png") for file in batch]
        mtcnn([Image.open(file) for file in batch], save_path=paths)
    del mtcnn  # what it holds of a GPU is needed below

    dataset = Faces(crops)
    resnet = InceptionResnetV1(
        classify=True, pretrained=pretrained, num_classes=len(dataset.people)
    ).to(device)
    optimizer = optim.Adam(resnet.parameters(), lr=0.001)
    scheduler = MultiStepLR(optimizer, [5, 10])
    loss_fn = nn.CrossEntropyLoss()

    training, validation = random_split(dataset, [0.8, 0.2])
    # batch norm needs two faces in a batch
    loader = DataLoader(training, batch_size=min(32, len(training)), shuffle=True, drop_last=True)
    losses = []
    for epoch in range(epochs):
        resnet.train()
        total = 0.0
        for faces, people in loader:
            optimizer.zero_grad()
            loss = loss_fn(resnet(faces.to(device)), people.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        losses.append(total / len(loader))

        resnet.eval()
        right = 0
        with torch.no_grad():
            for faces, people in DataLoader(validation, batch_size=32):
                right += (resnet(faces.to(device)).argmax(dim=1).cpu() == people).sum().item()
        print(f"epoch {epoch + 1}: loss {losses[-1]:.4f}, {right} of {len(validation)} right")
    return losses


if __name__ == "__main__":
    main(*sys.argv[1:])

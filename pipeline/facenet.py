"""What facenet-pytorch's users import: change the import, keep the code.

    from pipeline.facenet import MTCNN, InceptionResnetV1

    face = MTCNN()(image)
    vector = InceptionResnetV1(pretrained="vggface2").eval()(face.unsqueeze(0))

docs/facenet.md lists its interface line by line: what is equal, and what differs.
"""

from pipeline.models.facenet.drop_in import training
from pipeline.models.facenet.drop_in.faces import (
    extract_face,
    fixed_image_standardization,
    prewhiten,
)
from pipeline.models.facenet.drop_in.mtcnn import MTCNN
from pipeline.models.facenet.drop_in.network import InceptionResnetV1

__all__ = [
    "MTCNN",
    "InceptionResnetV1",
    "extract_face",
    "fixed_image_standardization",
    "prewhiten",
    "training",
]

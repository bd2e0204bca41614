"""Reads the faces of a lake with pandas, and shows who looks like whom.

python examples/read_faces.py demo-lake
"""

import sys

import numpy as np
import pandas as pd

faces = pd.read_parquet(f"{sys.argv[1]}/faces")
matrix = np.stack(faces["embedding"])  # one unit vector a row
similarity = matrix @ matrix.T

np.fill_diagonal(similarity, -1)
photo = faces["uri"].str.rsplit("/", n=1).str[-1]
print(f"{len(faces)} faces, matrix {matrix.shape} of {matrix.dtype}\n")
for row, other in enumerate(similarity.argmax(axis=1)):
    print(f"{photo[row]:34} looks most like {photo[other]:34} {similarity[row, other]:5.2f}")

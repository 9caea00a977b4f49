"""The largest cosines among 100,000 rows of 128: normalise, then search by inner product.

python search.py                 with dotk
python search.py --with faiss    with faiss: the same numbers
"""

import sys

import numpy as np

if sys.argv[1:] == ["--with", "faiss"]:
    import faiss
else:
    import dotk.compat.faiss as faiss

rng = np.random.default_rng(1)
rows = rng.standard_normal((100_000, 128), dtype=np.float32)
queries = rows[[5, 70_000, 99_999]] + rng.standard_normal((3, 128), dtype=np.float32) / 2

faiss.normalize_L2(rows)
faiss.normalize_L2(queries)
index = faiss.IndexFlatIP(128)
index.add(rows)
print(f"{index.ntotal} rows of {index.d}")

scores, ids = index.search(queries, 4)
for i in range(len(queries)):
    found = ", ".join(f"{id} ({score:.4f})" for id, score in zip(ids[i], scores[i]))
    print(f"query {i}: {found}")

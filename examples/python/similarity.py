"""Which of two sentences is nearer to a third, by inner product and by cosine.

python similarity.py                 with dotk
python similarity.py --with torch    with torch: the same numbers
"""

import sys

import numpy as np

if sys.argv[1:] == ["--with", "torch"]:
    from torch import cosine_similarity, dot, from_numpy

    def cosine(a, b):
        return cosine_similarity(a, b, dim=0)

else:
    from dotk import cosine, dot

    def from_numpy(array):
        return array


vectors = {
    "cats purr": [0.9, 0.3, 0.1, 0.0],
    "kittens purr loudly": [1.6, 0.8, 0.3, 0.0],
    "rates rise": [-0.1, 0.2, 0.9, 0.4],
}
names = list(vectors)
rows = [from_numpy(np.array(vector, np.float32)) for vector in vectors.values()]

for i, j in [(0, 1), (0, 2), (1, 2)]:
    product, angle = float(dot(rows[i], rows[j])), float(cosine(rows[i], rows[j]))
    print(f"{names[i]} | {names[j]}: inner product {product:.3f}, cosine {angle:.3f}")

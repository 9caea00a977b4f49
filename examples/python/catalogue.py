"""The nearest items of a catalogue: by their numbers, after a change, and among some only.

python catalogue.py                 with dotk
python catalogue.py --with faiss    with faiss: the same numbers
"""

import sys

import numpy as np

if sys.argv[1:] == ["--with", "faiss"]:
    import faiss
else:
    import dotk.compat.faiss as faiss

# Colour (red, green, blue), shine and size, each from 0 to 1.
items = {
    4001: ("red ball", [0.9, 0.1, 0.1, 0.3, 0.3]),
    4007: ("cherry", [0.8, 0.0, 0.2, 0.7, 0.1]),
    4012: ("green apple", [0.3, 0.8, 0.2, 0.5, 0.2]),
    4020: ("blue vase", [0.1, 0.2, 0.9, 0.9, 0.5]),
    4033: ("tomato", [0.9, 0.2, 0.1, 0.6, 0.2]),
    4040: ("fire engine", [0.9, 0.0, 0.0, 0.8, 1.0]),
}
numbers = np.array(list(items))
rows = np.array([features for _, features in items.values()], np.float32)

index = faiss.IndexIDMap(faiss.IndexFlatL2(rows.shape[1]))
index.add_with_ids(rows, numbers)


def show(title, k, params=None):
    like = np.array([[0.9, 0.1, 0.1, 0.6, 0.2]], np.float32)
    distances, found = index.search(like, k, params=params)
    print(title)
    for number, distance in zip(found[0], distances[0]):
        if number != -1:
            print(f"    {number} {items[number][0]}: squared distance {distance:.3f}")


show("something red, shiny and small:", 3)
index.remove_ids(np.array([4033]))
show("when the tomatoes are sold:", 3)
fruit = faiss.SearchParameters(sel=faiss.IDSelectorBatch([4007, 4012, 4033]))
show("among fruit, of which two are left:", 3, fruit)

"""Remember vectors, and find the names of those that are nearest to one.

Input: {"remember": {"cat": [1.0, 0.2], "car": [0.1, 1.0]}} or {"query": [0.9, 0.3], "limit": 1}
It imports numpy, so its host gives agents a folder of packages that holds it.
"""

import numpy as np


def run(input_dict, tools):
    vectors = data_store.use_namespace("vectors")
    if "remember" in input_dict:
        return {"remembered": vectors.set_many(input_dict["remember"])}
    return nearest(vectors.get_all(), np.array(input_dict["query"]), input_dict.get("limit", 3))


def nearest(vectors, query, limit):
    names, rows = list(vectors), np.array(list(vectors.values()))
    closeness = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    best = np.argsort(-closeness)[:limit]
    return [{"name": names[i], "closeness": round(float(closeness[i]), 3)} for i in best]

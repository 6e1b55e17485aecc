"""Index a folder of vectors as `clip-retrieval index` does, and look up each vector as its server does.

Runs in an environment of its own: what clip-retrieval pins does not go together with ours. Its package imports torch at
once, which neither the index nor the look-up needs; its modules are imported past that. Prints a list of
``[row that was looked up, row that was found first, similarity, what is known of it]`` as JSON.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np

COLUMNS = ["pair_id", "url", "caption", "image_path"]


def main(folder: Path, work: Path) -> None:
    spec = importlib.util.find_spec("clip_retrieval")
    assert spec is not None
    package = types.ModuleType("clip_retrieval")
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["clip_retrieval"] = package
    from clip_retrieval import clip_back
    from clip_retrieval.clip_index import clip_index

    index = str(work / "index")
    clip_index(str(folder), index, max_index_memory_usage="1G", current_memory_available="2G", nb_cores=1)
    found = []
    for modality in ("image", "text"):
        searched = clip_back.load_index(f"{index}/{modality}.index", False)
        known, _ = clip_back.load_metadata_provider(index, True, False, searched, COLUMNS, False)
        resource = types.SimpleNamespace(
            image_index=searched if modality == "image" else None,
            text_index=searched,
            metadata_is_ordered_by_ivf=False,
            ivf_old_to_new_mapping=None,
            safety_model=None,
            violence_detector=None,
        )
        service = clip_back.KnnService(clip_resources={"released": resource})
        kind = {"image": "img_emb", "text": "text_emb"}[modality]
        vectors = np.concatenate([np.load(path) for path in sorted((folder / kind).glob("*.npy"))]).astype(np.float32)
        for row in range(len(vectors)):
            distances, rows = service.knn_search(vectors[row : row + 1], modality, 3, resource, False, False, False)
            first = service.map_to_metadata(rows, distances, 1, known, COLUMNS)[0]
            found.append([row, int(first.pop("id")), float(first.pop("similarity")), first])
    (work / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

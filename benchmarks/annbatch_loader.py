"""Mini-batches by annbatch, timed in an environment of its own: it needs Python 3.12 and other versions than cellzoo.

Run by `store.py`: python annbatch_loader.py H5AD FOLDER BATCHES CHUNK:PRELOADED...; prints cells, CPU and wall seconds
of writing its store and of each setting as JSON.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import annbatch  # type: ignore[import-not-found]
import anndata
import zarr


def timed(loader: annbatch.Loader, batches: int) -> tuple[int, float, float]:
    """Return cells, CPU seconds and wall seconds of the first batches of an epoch, after two of another."""
    left, cells = iter(loader), 0
    next(left), next(left)
    left = iter(loader)
    cpu, wall = time.process_time(), time.perf_counter()
    for _, batch in zip(range(batches), left, strict=False):
        cells += batch["X"].shape[0]
    return cells, time.process_time() - cpu, time.perf_counter() - wall


def _x_only(group: zarr.Group) -> anndata.AnnData:
    return anndata.AnnData(
        X=anndata.io.sparse_dataset(group["X"]), obs=anndata.io.read_elem(group["obs"])[["cell_type"]]
    )


def main() -> None:
    """Write the store if it is not there, and print the times."""
    h5ad, folder, batches, *settings = sys.argv[1:]
    warnings.simplefilter("ignore")
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    times = {}
    if not Path(folder).exists():
        cpu, wall = time.process_time(), time.perf_counter()
        annbatch.DatasetCollection(folder).add_adatas([h5ad])
        cells = anndata.experimental.read_lazy(h5ad).n_obs
        times["write"] = (cells, time.process_time() - cpu, time.perf_counter() - wall)
    for setting in settings:
        chunk, preloaded = (int(number) for number in setting.split(":"))
        loader = annbatch.Loader(batch_size=512, chunk_size=chunk, preload_nchunks=preloaded, shuffle=True)
        loader.use_collection(annbatch.DatasetCollection(folder, mode="r"), load_adata=_x_only)
        times[setting] = timed(loader, int(batches) if chunk > 1 else 10)
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()

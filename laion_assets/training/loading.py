"""The training process' data: what open_clip_train's loop is given instead of its own webdataset pipeline.

open_clip_train reads on when a shard is missing or broken and fills the gap with repeats, and it shuffles by process
id and time. Here a fault ends the process, each loader reads its list of the schedule, and equal seeds give an equal
order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from laion_assets.images.decode import rgb_picture
from laion_assets.training.schedule import Schedule
from laion_assets.training.virtual import read_virtual

SHUFFLE_BUFFER: Final = 4_096
"""Samples of neighbouring shards that are mixed before they make batches."""

_PICTURES: Final = "jpg;png;jpeg;webp"


def data_source(schedule: Schedule) -> Callable[..., dict[str, Any]]:
    """A function to take the place of ``open_clip_train.data.get_data`` in a training process."""

    def get_data(args: Any, preprocess_fns: tuple[Any, Any], epoch: int = 0, tokenizer: Any = None) -> dict[str, Any]:
        from open_clip_train.data import DataInfo, SharedEpoch

        shared = SharedEpoch(epoch=epoch)
        preprocess = preprocess_fns[0]
        loader = _loader(schedule, shared, args.rank, args.workers, preprocess, lambda text: tokenizer(text)[0])
        # What the loop reads of it: batches of one process in an epoch, and samples of all.
        loader.num_batches = schedule.batches_per_loader * max(1, args.workers)
        loader.num_samples = loader.num_batches * args.batch_size * args.world_size
        return {"train": DataInfo(dataloader=loader, shared_epoch=shared)}

    return get_data


def _loader(
    schedule: Schedule, shared: Any, rank: int, workers: int, preprocess: Any, tokenize: Callable[[str], Any]
) -> Any:
    import webdataset as wds

    dataset = wds.DataPipeline(
        _Shards(schedule, shared, rank, workers),
        _Virtual(Path(schedule.root)) if schedule.root else wds.tarfile_to_samples(handler=wds.reraise_exception),
        _Whole(schedule.samples_per_shard),
        _Shuffled(schedule.seed, shared, rank),
        wds.decode(_picture, handler=wds.reraise_exception),
        wds.rename(image=_PICTURES, text="txt", handler=wds.reraise_exception),
        wds.map_dict(image=preprocess, text=tokenize, handler=wds.reraise_exception),
        wds.to_tuple("image", "text", handler=wds.reraise_exception),
        wds.batched(schedule.loader_batch_size, partial=True),
    )
    return wds.WebLoader(dataset, batch_size=None, shuffle=False, num_workers=workers, persistent_workers=workers > 0)


def _picture(extension: str, content: bytes) -> Any:
    """Webdataset's ``pilrgb``, but for pictures of older lakes: some of them lie on their side or have 16 bits."""
    if extension.removeprefix(".").lower() not in _PICTURES.split(";"):
        return None
    with rgb_picture(content) as picture:
        return picture


def _worker() -> int:
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return 0 if info is None else int(info.id)


class _Shards:
    """The shards of this loader in this epoch."""

    def __init__(self, schedule: Schedule, shared: Any, rank: int, workers: int) -> None:
        self._schedule, self._shared = schedule, shared
        self._rank, self._workers = rank, max(1, workers)

    def __call__(self) -> Iterator[dict[str, str]]:
        loader = self._rank * self._workers + _worker()
        for tar in self._schedule.of_loader(self._shared.get_value(), loader):
            yield {"url": tar}


class _Virtual:
    """The samples of virtual shards."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, shards: Iterable[dict[str, str]]) -> Iterator[dict[str, Any]]:
        for shard in shards:
            yield from read_virtual(Path(shard["url"]), self._root)


class _Whole:
    """Passes samples on and raises where a shard has not as many as it should."""

    def __init__(self, samples_per_shard: int) -> None:
        self._expected = samples_per_shard

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        current, count = None, 0
        for sample in samples:
            if sample["__url__"] != current or count == self._expected:  # a shard may follow itself in the next pass
                self._check(current, count)
                current, count = sample["__url__"], 0
            count += 1
            yield sample
        self._check(current, count)

    def _check(self, tar: str | None, count: int) -> None:
        if tar is not None and count != self._expected:
            raise ValueError(f"{tar}: expected {self._expected} samples, found {count}")


class _Shuffled:
    """Mixes samples in a buffer; equal seed, epoch and loader give an equal order."""

    def __init__(self, seed: int, shared: Any, rank: int) -> None:
        self._seed, self._shared, self._rank = seed, shared, rank

    def __call__(self, samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        rng = random.Random(f"buffer/{self._seed}/{self._shared.get_value()}/{self._rank}/{_worker()}")  # noqa: S311
        buffer: list[dict[str, Any]] = []
        for sample in samples:
            if len(buffer) < SHUFFLE_BUFFER:
                buffer.append(sample)
                continue
            place = rng.randrange(SHUFFLE_BUFFER)
            out, buffer[place] = buffer[place], sample
            yield out
        rng.shuffle(buffer)
        yield from buffer

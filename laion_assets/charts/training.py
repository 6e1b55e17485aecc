"""Pictures of a training."""

import io
from collections.abc import Sequence
from math import isfinite

from laion_assets.training.driver import EpochRecord


def training_curves(records: Sequence[EpochRecord], *, title: str) -> bytes:
    """Loss, learning rate and throughput by samples seen, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    seen = [record.samples_seen for record in records]
    curves = (
        ("contrastive loss", [record.loss for record in records]),
        ("learning rate", [record.learning_rate for record in records]),
        ("samples a second", [record.samples_per_second for record in records]),
    )
    for axes, (label, values) in zip(figure.subplots(1, len(curves)), curves, strict=True):
        axes.plot(seen, values, marker="o", markersize=4, clip_on=False)
        axes.set(xlabel="samples seen", title=label)
        axes.set_ylim(0, max([value for value in values if isfinite(value)], default=0) * 1.08 or 1)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()

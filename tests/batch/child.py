"""A process of its own that fits a small batch: `python -m tests.batch.child OUT [ADDRESS PLACE]`.

With an address it is one of two processes of `jax.distributed`. How many devices there are, the
parent says in XLA_FLAGS. Writes the draws, and the devices that it had, to an npz file.
"""

import sys

import jax
import numpy as np

import hierjax as hj
from hierjax.batch.chunks import LANES
from tests import models

DATASETS = [models.known_variances_data(seed) for seed in range(7)]
SHORT = hj.NUTS(chains=2, warmup=60, draws=60)


def fit(**options):
    """Fit the batch, two data sets to a device."""
    LANES["cpu"] = 2
    model = hj.Model(models.known_variances, DATASETS[0], labels={"group": "ABCDEF"})
    options = {"method": SHORT, "effects": "centred", "retries": 0, **options}
    return hj.fit_many(model, DATASETS, progress=False, **options)


def draws_of(batch):
    """Draws of all data sets, stacked."""
    return np.stack([posterior.draws["effect"] for posterior in batch])


def main():
    """Fit and write."""
    out, *distributed = sys.argv[1:]
    if distributed:
        address, place = distributed
        jax.distributed.initialize(address, num_processes=2, process_id=int(place))
    batch = fit()
    np.savez(out, draws=draws_of(batch), local=jax.local_device_count(), all=jax.device_count())


if __name__ == "__main__":
    main()

"""Reading handwritten digits: the package under the book *mnist-lab*.

    from mnist_lab import TrainConfig, fit, load_mnist, split

    train, validation = split(load_mnist().train, seed=0)
    result = fit("small_cnn", train, validation, TrainConfig(epochs=3))

A dozen names carry most chapters; each is imported when it is first asked for. The rest is in the
rooms: `mnist_lab.data`, `by_hand`, `models`, `training`, `finetuning`, `handwriting`,
`inspection`, `lessons`.
"""

import os

import lazy_loader

__version__ = "0.1.0"

# How torch's threads wait for each other. If they spin, each steals the time that the other waits
# for as soon as something else runs on a core, and a second of training takes minutes. OpenMP reads
# it when torch is loaded: so here, before any room of this package can load it, and only here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

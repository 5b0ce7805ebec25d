"""Reading handwritten digits: the package under the book *mnist-lab*.

    from mnist_lab import TrainConfig, fit, load_mnist, split

    train, validation = split(load_mnist().train, seed=0)
    result = fit("small_cnn", train, validation, TrainConfig(epochs=3))

A dozen names carry most chapters; each is imported when it is first asked for. The rest is in the
rooms: `mnist_lab.data`, `by_hand`, `models`, `training`, `finetuning`, `handwriting`, `lessons`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

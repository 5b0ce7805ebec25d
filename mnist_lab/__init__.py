"""Reading handwritten digits: the package under the book *mnist-lab*.

Importing this package, or `mnist_lab.datasets`, imports no torch. The modules, from the bottom up,
are listed in CONTRIBUTING.md; each imports only from those above it in that list.
"""

__version__ = "0.1.0"

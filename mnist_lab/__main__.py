"""`python -m mnist_lab` is the command line."""

import sys

from mnist_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())

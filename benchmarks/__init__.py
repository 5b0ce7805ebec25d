"""Side-by-side measurements; each script writes one record into `benchmarks/results/`."""

import mnist_lab  # noqa: F401 - before a script loads torch: its threads then wait without spinning

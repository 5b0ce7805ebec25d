"""Side-by-side measurements; each script writes one record into `benchmarks/results/`."""

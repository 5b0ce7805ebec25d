"""What the Makefile calls: chapters as text, re-execution, student version, publishing address."""

"""How well histories are graded and repaired: parts of `benchmarks/history.py`."""

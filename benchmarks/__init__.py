"""Speed of this project beside others, measured in turn on one machine; `python -m benchmarks` runs all of it."""

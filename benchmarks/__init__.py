"""What the package costs, beside its peers: `python -m benchmarks --help`, or `make bench`.

Every way of signing in (`setups.py`) runs in a worker process of its own (`worker.py`) with settings of its own
(`settings.py`), so that none pays for another. The parent (`__main__.py`, `rows.py`) asks them in turn for small
batches, so that whatever else the machine does hits all alike, and compares each batch with plain's of the same round.
"""

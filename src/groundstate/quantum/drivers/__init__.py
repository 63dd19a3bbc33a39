"""Drivers of the engines: each file stands alone, imports nothing of groundstate and runs in a process of its own.

`external/worker.py` says what a driver is.
"""

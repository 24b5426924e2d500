"""A GPU that is simulated on the CPU, for tests of what a GPU would refuse and what it would cost.

`device` has the device, `counts` what is counted on it, `nccl` the collectives of two processes,
`costs` the price of a training step of each shipped recipe, and `budgets.json` the most that each
may cost. `benchmarks/host_waits.py` measures them anew.
"""

"""Training: the loop, optimizer and schedule, the loader, checkpoints, the history of losses.

In: a network, a training set, the `train` section. Out: averaged weights and their history.
"""

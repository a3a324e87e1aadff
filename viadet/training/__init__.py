"""Training: the loop, the network with its loss, optimizer and schedule, the loader, checkpoints, several processes.

In: a network, a training set, the `train` section. Out: averaged weights and the history of losses and AP.
"""

"""Training: the loop, the network with its loss, optimizer and schedule, the loader, checkpoints, several processes.

In: a network, a training set, the `train` section. Out: averaged weights and the history of losses and AP.
"""

import viadet.network  # noqa: F401 (first, as it imports effdet without its warnings)

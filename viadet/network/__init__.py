"""EfficientDet: building it, weights, devices, anchors.

In: a recipe's `model` section, or a model folder. Out: networks, and their outputs as one list of anchors.
"""

import warnings

with warnings.catch_warnings():
    # effdet scripts two functions when it is imported, which torch calls deprecated: nothing that a user could fix
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    import effdet  # noqa: F401

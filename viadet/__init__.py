"""EfficientDet on images annotated with VIA: what the stages are made of, a room for each kind of work."""

import warnings

# effdet scripts two functions when it is imported, which torch calls deprecated: nothing that a user could fix.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

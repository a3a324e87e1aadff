"""The pipeline: one script a stage, named as in dvc.yaml."""

import warnings

# effdet scripts two functions when it is imported, which torch calls deprecated: nothing that a user could mend.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)

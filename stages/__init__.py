"""The pipeline: one script a stage, named as in dvc.yaml."""

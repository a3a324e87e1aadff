"""What every room stands on: the recipes of params.yaml, files that are written whole or not at all, errors for people.

In: params.yaml, JSON of earlier stages. Out: checked recipes, JSON, CSV, folders, error lines.
"""

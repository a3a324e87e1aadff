"""The command line: `viadet compare`, `viadet repeat`.

In: arguments. Out: a page, a table, experiments of DVC.
"""

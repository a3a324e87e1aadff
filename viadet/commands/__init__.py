"""The command line `viadet`: one file for each command, and app.py, which collects them.

In: arguments. Out: a page, a table, DVC experiments. A command imports what is slow to load only when it runs.
"""

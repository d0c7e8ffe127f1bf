"""The benchmark suite: one table of problems, one adapter for each tool, one runner.

Inside the package, so that `hierjax bench` shows on anyone's machine what it shows on ours. Nothing
here is imported by the rest of hierjax.
"""

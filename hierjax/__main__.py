"""`python -m hierjax` is the command line."""

from hierjax.cli import main

main()

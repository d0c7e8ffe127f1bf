"""Transforms map a model function to one with the same posterior in other coordinates."""

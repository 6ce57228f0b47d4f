"""Judges of answers and writers of queries: one file per kind."""

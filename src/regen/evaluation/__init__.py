"""Measures, judged collections and the gate: pure decisions about quality."""

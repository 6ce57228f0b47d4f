"""Decisions. Everything here is pure: no I/O, no clock, no randomness, no logging, no vendor."""

"""Telling: freshness, failures and cost, from what the catalog holds."""

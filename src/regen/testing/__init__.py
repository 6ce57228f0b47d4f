"""Shipped with regen: conformance suites for sources, embedders, stores and catalogs, and injected faults."""

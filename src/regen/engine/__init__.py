"""Doing: scanning sources, reconciling generations with the change log, repair and upkeep."""

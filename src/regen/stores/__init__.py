"""Vector stores, one file each, settings inside."""

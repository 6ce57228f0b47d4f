"""regen keeps a vector index in step with everything it was made from."""

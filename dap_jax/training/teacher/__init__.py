"""A frozen teacher: its network, or vectors that were computed before training."""

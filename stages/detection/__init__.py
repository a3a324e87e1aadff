"""What the stages share, one job a module."""

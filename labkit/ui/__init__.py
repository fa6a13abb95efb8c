"""What the trainee sees and touches."""

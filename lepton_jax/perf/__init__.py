"""What a step costs and how fast it runs."""

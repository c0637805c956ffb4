"""What a stage that keeps state has in common, whatever that state is."""

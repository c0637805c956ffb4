"""The odometer over recorded logs: who holds how much of the model, and what a budget would stop and cost."""

"""The odometer: how much of a model a client holds, by how well a small copy does that learned from the responses to it."""

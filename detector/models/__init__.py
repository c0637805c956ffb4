"""What is learned: the reference (input space), the baseline (benign clients, calibration) and the online trees."""

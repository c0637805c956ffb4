"""The baseline: benign reference and calibration. How it is fitted, stored, sealed, accepted for live state and reported."""

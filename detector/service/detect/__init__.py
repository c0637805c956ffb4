"""The detect stage: normalised events in, alerts and decisions out."""

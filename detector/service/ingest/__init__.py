"""The ingest stage: prediction logs in, normalised events keyed by client out."""

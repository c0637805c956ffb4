"""One check a file; `detector.audit.registry` lists them."""

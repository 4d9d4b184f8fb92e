"""How verifications, locks and differences are written; one module for each format."""

"""The CRD, held against a real API server."""

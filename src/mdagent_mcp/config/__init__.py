"""Settings: models, loading with origins, keys."""

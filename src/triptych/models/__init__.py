"""Models that the project itself trains."""

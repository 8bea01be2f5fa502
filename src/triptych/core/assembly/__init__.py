"""From a checked configuration to stages that run: built, wired, loaded, shared."""

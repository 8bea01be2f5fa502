"""A strategy that drafts phrases which replies often have."""

"""A stage that prunes visual tokens which look like the rest."""

"""What can be used, by name: components, the plugins that list them, the catalog of both."""

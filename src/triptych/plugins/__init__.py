"""The built-in components, offered through the same hooks as everybody's."""

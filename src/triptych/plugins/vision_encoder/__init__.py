"""The stage that turns patches of images into features."""

"""An ablation as it runs: what is asked of which arm, and the database of what came back."""

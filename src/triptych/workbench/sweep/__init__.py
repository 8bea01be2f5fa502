"""The sweep file: which arms an ablation has, each of them checked before anything runs."""

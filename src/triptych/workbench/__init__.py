"""The workbench: many requests, many arms, on one machine or several, and what comes of them."""

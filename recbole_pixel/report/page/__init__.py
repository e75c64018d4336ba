"""The page of a run: what it shows is found in a module for each part, and drawn by templates."""

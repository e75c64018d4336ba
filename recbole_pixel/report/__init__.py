"""Tables of runs: several models, towers or inputs beside each other, over seeds."""

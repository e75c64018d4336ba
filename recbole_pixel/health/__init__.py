"""Looks at a run while it trains, and says once, with the remedy, what is wrong with it.

Nothing here draws from the run's random numbers or changes a weight: with and without it, the numbers are the same.
Statistics stay on the device that trains and are read where the trainer looks at the loss anyway.
"""

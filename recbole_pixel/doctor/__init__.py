"""Looks at an installation and a machine: what is there, what is degraded, how to mend it.

It is needed where things cannot be imported, so nothing here imports anything that may be missing: packages are asked
for by their metadata, and tried in processes of their own.
"""

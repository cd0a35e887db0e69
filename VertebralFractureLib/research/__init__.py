"""Datasets, phantom, simulation, training and evaluation: imports the product, and is imported by no part of it."""

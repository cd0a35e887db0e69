"""Datasets, phantom, simulation, training, evaluation, release: each imports those before it, and all the product.

No part of the product imports this package. Slicer's installation holds the phantom and the truth that it returns.
"""

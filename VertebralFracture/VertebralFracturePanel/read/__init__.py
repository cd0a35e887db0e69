"""Read the result: table, display criteria, views, walking from vertebra to vertebra."""

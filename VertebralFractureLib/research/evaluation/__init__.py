"""Measure the whole program from outside: run the command on scans with known truth and compare what it wrote."""

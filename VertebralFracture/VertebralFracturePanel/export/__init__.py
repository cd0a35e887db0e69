"""Export the result into files."""

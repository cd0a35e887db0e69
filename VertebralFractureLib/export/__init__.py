"""Step 7: a result for a person or another program: table, picture, page and scene, written from the report."""

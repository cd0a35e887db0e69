"""A digital spine phantom with known truth: CT, centerline, vertebrae, levels, heights and grades, by seed."""

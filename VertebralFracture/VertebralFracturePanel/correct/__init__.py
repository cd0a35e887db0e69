"""Correct the result: centerline, levels, vertebrae, endplate points, the reader's assessment."""

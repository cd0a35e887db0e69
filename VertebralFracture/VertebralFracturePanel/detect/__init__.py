"""Choose a CT and options, run the detection, follow its progress."""

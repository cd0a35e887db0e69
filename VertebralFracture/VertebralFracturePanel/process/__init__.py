"""Processes, signals and steps of the event loop that the panel runs on."""

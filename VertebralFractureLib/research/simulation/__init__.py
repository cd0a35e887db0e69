"""Fractures and incidental findings drawn into real anatomy, whose truth is known."""

"""Faces of other libraries: programs written for them run with their import changed."""

"""Puts chosen dead letters back on their topic, each once."""

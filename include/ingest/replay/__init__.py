"""Sends chosen dead letters to their topic again, each once."""

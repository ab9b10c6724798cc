"""Readers of logs in files and other libraries' buffers."""

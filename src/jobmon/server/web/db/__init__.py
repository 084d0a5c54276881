"""Addresses of earlier versions."""

"""Ledgers to tables and plots. Imports `measure` only."""

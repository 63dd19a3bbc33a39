"""Foundation models for atomistic simulation. Importing this imports nothing heavy."""

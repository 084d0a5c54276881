"""The schema's history, one Alembic revision a file in ``versions``; compared with the models by a test."""

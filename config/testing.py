"""How `manage.py test` hands over to pytest."""

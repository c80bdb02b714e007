"""What we measure, always against a ceiling or a peer in the same run. `python3 manage.py bench NAME`; never a test."""

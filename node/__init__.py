"""The machines of one computer, without Django: what runs beside instances and how to talk to it.

Start it with `python -m node.agent --home DIR`; talk to it with `node.client`. Nothing here imports the apps.
"""

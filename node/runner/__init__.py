"""The runner of functions, `python -m node.runner --home DIR`: warm sandboxes, their calls, and the journal of both.

`daemon` answers the socket, `lanes` decides who runs when, `worker` is one sandbox, `inside/` is what runs in it.
"""

"""Counts the words of a folder on three nodes, kills one of them half-way, and loses nothing.

    python -m examples.wordcount [FOLDER]

Read it in this order: `counting` (the servers that count), `coordinator` (the server that deals out the work),
`tree` (who supervises whom, and where), `cluster` (the other two nodes), `__main__` (all of it put together).
`corpus` reads files, `progress` shows what happens.
"""

"""The pages: today's papers for everybody, and each subscriber's own. Rooms are functions from a visit to a reply.

app.py has the routes, site.py what all rooms share, server.py runs it. GET and HEAD work in a rehearsal of the storage,
so that nothing they do can last.
"""

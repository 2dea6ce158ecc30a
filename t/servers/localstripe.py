"""localstripe on 127.0.0.1 only, its books in a file of this stack's own. Arguments: the port and the file.

As it comes it listens on every interface and all instances share one file in /tmp.
"""
import os
import pickle
import sys

# The script's own folder comes first on the path, and this file has the package's name.
sys.path.pop(0)

from aiohttp import web  # noqa: E402
from localstripe.resources import Store, store  # noqa: E402
from localstripe.server import app  # noqa: E402

port, books = int(sys.argv[1]), sys.argv[2]


def save(self):
    """Whole or not at all: a kill in the middle leaves the old file."""
    with open(books + '.new', 'wb') as f:
        pickle.dump(dict(self), f, protocol=pickle.HIGHEST_PROTOCOL)
    os.replace(books + '.new', books)


# The server saves after each request that writes; saving at each assignment too would make long tests quadratic.
Store.dump_to_disk = save
Store.__setitem__ = dict.__setitem__
Store.__delitem__ = dict.__delitem__

if os.path.exists(books):
    with open(books, 'rb') as f:
        store.update(pickle.load(f))

web.run_app(app, host='127.0.0.1', port=port, print=None, access_log=None, shutdown_timeout=1)

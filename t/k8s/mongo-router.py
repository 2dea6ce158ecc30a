#!/usr/bin/env python3
"""One address for the databases of all services, each a server of its own in the cluster, so that tests find them where a local stack
has them. Arguments: NAME=ADDRESS of each. Listens on 127.0.0.1:27017; a message goes to the server that its $db names, whatever names
none to the first."""
import re
import socket
import struct
import sys
import threading

servers = dict(argument.split("=") for argument in sys.argv[1:])
first = next(iter(servers))


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def read_message(connection):
    head = read_exactly(connection, 4)
    return head + read_exactly(connection, struct.unpack("<i", head)[0] - 4)


def serve(client):
    upstream = {}
    try:
        while True:
            message = read_message(client)
            database = re.search(rb"\x02\$db\x00....([a-z]+)\x00", message, re.S)
            name = database.group(1).decode() if database else first
            name = name if name in servers else first
            if name not in upstream:
                upstream[name] = socket.create_connection((servers[name], 27017))
            upstream[name].sendall(message)
            client.sendall(read_message(upstream[name]))
    except (EOFError, OSError):
        pass
    for connection in [client, *upstream.values()]:
        connection.close()


listener = socket.create_server(("127.0.0.1", 27017), backlog=256)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

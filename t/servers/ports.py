"""Arguments: NAME PORT ...; prints NAME PORT with each port that is not free, or 0, replaced by one that is.

New ports come from below the range that the kernel gives to outgoing connections. In it, a client that tries a stopped server's
port again and again may be given that very port as its own and connect to itself, or keep the server from coming back.
"""
import random
import socket
import sys

with open('/proc/sys/net/ipv4/ip_local_port_range') as f:
    low = int(f.read().split()[0])
choice = range(20000, low) if low > 21000 else range(20000, 60000)
held = []  # so that no two names get the same one


def free(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(('127.0.0.1', port))
        s.listen()
    except OSError:
        return False
    held.append(s)
    return True


for name, port in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    while not (port and free(port)):
        port = random.choice(choice)
    print(name, port)

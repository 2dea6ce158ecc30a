"""A mail server on 127.0.0.1 for tests. Arguments: the port, and a folder that each letter it takes goes to as a file of its own.

Of a letter to refused@… it says that there is no such mailbox. Each file starts with a line that names who it is to.
"""
import asyncio
import itertools
import os
import sys

from aiosmtpd.controller import Controller

port, folder = int(sys.argv[1]), sys.argv[2]
number = itertools.count()


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith('refused@'):
            return '550 no such mailbox'
        envelope.rcpt_tos.append(address)
        return '250 OK'

    async def handle_DATA(self, server, session, envelope):
        name = os.path.join(folder, f'{os.getpid()}-{next(number)}')
        with open(name + '.new', 'wb') as f:
            f.write(f'{" ".join(envelope.rcpt_tos)}\n'.encode() + envelope.content)
        os.rename(name + '.new', name + '.eml')
        return '250 taken'


controller = Controller(Keep(), hostname='127.0.0.1', port=port)
controller.start()
asyncio.new_event_loop().run_forever()

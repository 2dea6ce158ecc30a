"""`./dev bench [--quick] [NAME...]`: how near the services come to what is possible at all. See t/bench/README.md.

Writes to DEV_STATE/bench and prints a summary. Each comparison alternates its sides (A B A B ...), all behind one nginx with the edge's own
configuration and on one database, and judges the median of the pairs' ratios; the spread is their smallest and largest.
"""
import argparse
import atexit
import csv
import html
import http.client
import json
import math
import os
import shlex
import re
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.request

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
here = os.path.join(top, 't', 'bench')
state = os.path.join(os.environ['DEV_STATE'], 'bench')
tools = os.environ['DEV_TOOLS']
WORKERS = 8  # of each service, and of what it is compared with
CLIENTS = 32
BATCH = 64  # records whose events the relay has under way at once, see lib/outbox.c
TOOLS = ('clients', 'limit', 'publish', 'seed', 'tap')
TICK = os.sysconf('SC_CLK_TCK')

rows = {}  # name: function, in the order of the issue's table
measured = []  # [row, side, unit, median, least, most, and so on] for the table
targets = []  # [row, what, value, relation, target, unit, met]


def row(f):
    rows[f.__name__.replace('_', '-')] = f
    return f


def say(*words):
    print(*words, flush=True)


def fail(why):
    sys.exit(f'dev: {why}')


# --- processes -------------------------------------------------------------------------------------------------------------

started = []


def start(command, log, env=None, **more):
    """A process in the background, which ends with us; in a session of its own as those of dev are, since the kernel shares processors
    by session."""
    with open(os.path.join(state, 'log', log + '.log'), 'ab') as out:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True, **more)
    started.append(p)
    return p


def stop(p):
    if p.poll() is None:
        p.terminate()
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
    if p in started:
        started.remove(p)


def until(what, true, seconds=30, pace=0.01):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            fail(f'{what} takes more than {seconds} s')
        time.sleep(pace)


def alive(pid):
    return os.path.exists(f'/proc/{pid}')


def cpu(pids):
    """Seconds of CPU that these have used so far, in all their threads."""
    ticks = 0
    for pid in pids:
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rpartition(')')[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def resident(pids):
    """MiB that are resident now."""
    kib = 0
    for pid in pids:
        with open(f'/proc/{pid}/status') as f:
            kib += next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))
    return kib / 1024


# --- the stack -------------------------------------------------------------------------------------------------------------

class Stack:
    """A stack of the benchmark's own; its nginx has more locations than the edge's: what the services are compared with."""

    def __init__(self):
        self.env = {}
        self.is_up = self.dirty = False
        self.mongo = self.nginx = self.limit = None
        self.expresses = {}

    def dev(self, *args, **more):
        env = dict(os.environ, DEV_STATE=state, DEV_TOOLS=tools, DEV_PORT='0', DEV_MONGO='memory',
                   DEV_STRIPE='scripted', DEV_RATE='1000000', **{'FCGI_WORKERS': str(WORKERS), **self.database, **more})
        p = subprocess.run([os.path.join(top, 'dev'), *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            fail(f'./dev {" ".join(args)} fails:\n{p.stdout}')
        return p.stdout

    def up(self, **more):
        self.database = {}
        if 'MONGO_URI' not in os.environ:
            self.start_mongo()
        self.dev('up', **more)
        for line in self.dev('env').splitlines():
            name, _, value = line.partition('=')
            self.env[name] = ''.join(shlex.split(value))
        self.is_up, self.dirty = True, False
        self.tls = ssl.create_default_context(cafile=self.env['CA_CERT'])
        self.port = int(self.env['BASE_URL'].rpartition(':')[2])
        self.start_nginx()
        self.sign_up()

    def start_mongo(self):
        """As dev does, but with threads, and memory for a hundred thousand listings; a mongod that is there is taken instead."""
        if any(os.access(os.path.join(d, 'mongod'), os.X_OK) for d in os.environ['PATH'].split(':')):
            return
        port = subprocess.run([sys.executable, os.path.join(top, 't/servers/ports.py'), 'mongo', '0'], text=True, check=True,
                              stdout=subprocess.PIPE).stdout.split()[1]
        jars = os.path.join(tools, 'jars')
        self.mongo = start(['java', '-Dthreads=0', '-Xms3g', '-Xmx3g', '-Xmn64m', '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
                            '-XX:-UsePerfData', '-cp', f'{jars}:{jars}/*', 'MongoServer', port], 'mongo')
        self.database = {'MONGO_URI': f'mongodb://127.0.0.1:{port}'}
        until('the database', lambda: listens(int(port)))

    def start_nginx(self):
        with open(os.path.join(state, 'nginx/nginx.conf')) as f:
            conf = f.read()
        routes = f'include "{state}/nginx/routes.conf";'
        assert conf.count(routes) == 1 and conf.count('server_tokens off;') == 1
        http = ''
        locations = (f'location ^~ /bench/static/ {{ alias "{state}/bodies/"; open_file_cache max=64; }}\n'
                     f'location ^~ /bench/limit/ {{ include "{top}/nginx/fastcgi.conf"; '
                     f'fastcgi_pass "unix:{self.env["RUN_DIR"]}/limit.sock"; }}\n')
        for n in '1', '2':
            http += f'upstream express{n} {{ server "unix:{self.env["RUN_DIR"]}/express{n}.sock"; keepalive 64; }}\n'
            locations += (f'location ^~ /bench/express{n}/ {{ proxy_pass http://express{n}/; proxy_http_version 1.1; '
                          'proxy_set_header Connection ""; }\n')
        conf = conf.replace(routes, locations + routes).replace('server_tokens off;', 'server_tokens off;\n' + http)
        with open(os.path.join(state, 'nginx/bench.conf'), 'w') as f:
            f.write(conf)
        pid = self.pid('nginx')
        os.kill(pid, signal.SIGTERM)
        until("nginx's end", lambda: not alive(pid))
        path = os.environ['PATH'] + ':/usr/sbin:/sbin'
        self.nginx = start(['nginx', '-p', f'{state}/nginx/', '-e', f'{state}/log/nginx-error.log', '-c', f'{state}/nginx/bench.conf'],
                           'nginx', env=dict(os.environ, PATH=path))
        until('nginx', lambda: listens(self.port))

    def pid(self, name):
        with open(os.path.join(self.env['RUN_DIR'], name + '.pid')) as f:
            return int(f.read())

    def down(self):
        for p in list(started):
            if p is not self.mongo:
                stop(p)
        if self.is_up:
            self.dev('down', '--wipe')
            self.is_up = False
        if self.mongo:
            stop(self.mongo)
        self.limit, self.expresses = None, {}

    def fresh(self):
        """What a row has written would be another one's burden."""
        if self.dirty or not self.is_up:
            self.down()
            self.up()

    def ask(self, method, path, body=None, cookie=''):
        """The answer, which is no failure: on a machine that is busy a 503 is asked again."""
        end = time.monotonic() + 30
        while True:
            c = http.client.HTTPSConnection('localhost', self.port, context=self.tls)
            c.request(method, path, body if body is None else json.dumps(body),
                      {'Content-Type': 'application/json', **({'Cookie': cookie} if cookie else {})})
            r = c.getresponse()
            text = r.read()
            c.close()
            if r.status < 400:
                return r, text
            if r.status != 503 or time.monotonic() > end:
                fail(f'{method} {path} is answered {r.status} {text[:300]}')

    def answers(self, path):
        c = http.client.HTTPSConnection('localhost', self.port, context=self.tls)
        c.request('GET', path)
        status = c.getresponse().status
        c.close()
        return status == 200

    def sign_up(self):
        self.email = f'bench{time.time_ns()}@example.edu'
        r, _ = self.ask('POST', '/api/users/signup', {'email': self.email, 'password': 'correct horse'})
        self.cookie = next(c.partition(';')[0] for c in r.headers.get_all('Set-Cookie') if c.startswith('__Host-session='))

    def seed(self, what, first, count):
        subprocess.run([tool('seed'), self.env['MONGO_URI'], what, str(first), str(count)], check=True)

    def start_limit(self, **bodies):
        """Captures what the services answer, NAME=(METHOD, PATH, BODY), and starts limit with these as its constants."""
        folder = os.path.join(state, 'bodies')
        os.makedirs(folder, exist_ok=True)
        for name, request in bodies.items():
            _, text = self.ask(*request, cookie='' if name == 'home' else self.cookie)
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(text)
        if self.limit:
            stop(self.limit)
        socket = os.path.join(self.env['RUN_DIR'], 'limit.sock')
        self.limit = start([tool('limit'), socket, str(WORKERS), folder], 'limit', env=dict(os.environ, MONGO_URI=self.env['MONGO_URI']))
        until('limit', lambda: self.limit.poll() is None and os.path.exists(socket))

    def express(self, n, path, **more):
        """A side: Express with n processes, which is started when it is not there."""
        if n not in self.expresses:
            self.expresses[n] = start_express(self, n)
        return Side(f'Express, {n} process{"es" * (n > 1)}', f'/bench/express{n}{path}', pids=family(self.expresses[n].pid), **more)

    def without(self, *names):
        """What others make of the events of a row is no part of it."""
        for name in names:
            self.dev('kill', name)
        self.dirty = True


def start_express(stack, n):
    path = os.path.join(stack.env['RUN_DIR'], f'express{n}.sock')
    if os.path.exists(path):
        os.unlink(path)
    p = start(['node', os.path.join(here, 'express/server.js')], 'express',
              env=dict(os.environ, NODE_ENV='production', NODE_PATH=os.path.join(tools, 'express/node_modules'), PROCESSES=str(n),
                       SOCKET=path, MONGO_URI=stack.env['MONGO_URI'], JWT_KEY=stack.env['JWT_KEY'], EMAIL=stack.email,
                       PASSWORD='correct horse'))
    until('Express', lambda: p.poll() is None and http_ready(path))
    return p


def family(pid):
    """A process and its children."""
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        return [pid, *map(int, f.read().split())]


def http_ready(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
            s.sendall(b'GET /readyz HTTP/1.0\r\n\r\n')
            return s.recv(4096).split()[1:2] == [b'200']
        except OSError:
            return False


def fcgi_get(path, uri):
    """The answer of a service on its own socket: (status, body); (0, '') when it does not listen."""
    def record(kind, content):
        return struct.pack('>BBHHBB', 1, kind, 1, len(content), 0, 0) + content
    params = b''.join(bytes((len(k), len(v))) + k + v for k, v in (
        (b'REQUEST_METHOD', b'GET'), (b'SCRIPT_NAME', uri.encode()), (b'REQUEST_URI', uri.encode()), (b'QUERY_STRING', b'')))
    data = text = b''
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
            s.sendall(record(1, b'\0\1\0\0\0\0\0\0') + record(4, params) + record(4, b'') + record(5, b''))
            while more := s.recv(65536):
                data += more
        except OSError:
            return 0, ''
    while len(data) >= 8:
        _, kind, _, n, pad, _ = struct.unpack('>BBHHBB', data[:8])
        text += data[8:8 + n] if kind == 6 else b''
        data = data[8 + n + pad:]
    head, _, body = text.decode().partition('\r\n\r\n')
    return int(head[8:11] if head.startswith('Status: ') else 0), body


def metric(service, name):
    """The sum of a service's metric of that name, whatever its labels."""
    _, text = fcgi_get(os.path.join(stack.env['RUN_DIR'], service + '.sock'), '/metrics')
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f'ticketing_{name}{{') or
               line.startswith(f'ticketing_{name} '))


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def tool(name):
    return os.path.join(state, 'build', 't/bench', name)


# --- measuring -------------------------------------------------------------------------------------------------------------

class Side:
    """One of those that are compared: where it is asked what, and whose CPU time that takes."""

    def __init__(self, name, path, method='GET', cookie='', body=None, pids=(), clients=CLIENTS, before=None, after=None, first=0):
        self.name, self.path, self.method, self.cookie = name, path, method, cookie
        self.body = json.dumps(body) if body else ''
        self.pids, self.clients = list(pids), clients
        self.before, self.after = before, after  # what is not measured: before(side, seconds), after()
        self.first = first  # the number of the next %ID
        self.rates, self.costs, self.p50, self.p99, self.errors, self.peak = [], [], [], [], 0, 0

    def run(self, seconds):
        if self.before:
            self.before(self, seconds)
        used = cpu(self.pids)
        p = subprocess.run(['wrk', '-t1', f'-c{self.clients}', f'-d{seconds}s', '--timeout', '10s', '-s', os.path.join(here, 'load.lua'),
                            f'https://localhost:{stack.port}{self.path}', '--', self.method, self.cookie, self.body, str(self.first)],
                           text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = next((s for s in p.stdout.splitlines() if s.startswith('RESULT ')), None)
        if line is None:
            fail(f'wrk says:\n{p.stdout}')
        requests, us, errors, p50, p99 = map(int, line.split()[1:])
        self.first += requests + self.clients
        if requests == 0:
            fail(f'{self.path} answers nothing in {seconds} s')
        used = cpu(self.pids) - used
        if self.after:
            self.after()
        return requests / us * 1e6, used / requests * 1e6, p50 / 1000, p99 / 1000, errors

    def note(self, seconds):
        rate, cost, p50, p99, errors = self.run(seconds)
        self.rates.append(rate)
        self.costs.append(cost)
        self.p50.append(p50)
        self.p99.append(p99)
        self.errors += errors


def compare(name, sides, seconds=None):
    """Alternates the sides; the first one is ours."""
    for side in sides:
        side.run(1)
    for _ in range(args.runs):
        for side in sides:
            side.note(seconds or args.seconds)
    for s in sides:
        measured.append([name, s.name, 'requests/s', *spread(s.rates)])
        if s.pids:
            measured.append([name, s.name, 'us CPU/request', *spread(s.costs)])
        measured.append([name, s.name, 'ms p50', *spread(s.p50)])
        measured.append([name, s.name, 'ms p99', *spread(s.p99)])
        cost = f'{statistics.median(s.costs):8.1f} us CPU each' if s.pids else ''
        errors = f'  {s.errors} ERRORS' if s.errors else ''
        say(f'  {name:12} {s.name:22} {statistics.median(s.rates):9.0f} /s ({min(s.rates):.0f} to {max(s.rates):.0f}) '
            f'p99 {statistics.median(s.p99):7.2f} ms {cost}{errors}')
        if s.errors:
            judge(name, f'errors of {s.name}', [s.errors], '<=', 0, '')


def spread(values):
    return [statistics.median(values), min(values), max(values)]


def ratios(a, b):
    return [x / y if y else float('inf') for x, y in zip(a, b)]


def judge(name, what, values, relation, target, unit):
    value = statistics.median(values)
    met = value >= target if relation == '>=' else value <= target
    targets.append([name, what, value, min(values), max(values), relation, target, unit, met])


# --- the rows --------------------------------------------------------------------------------------------------------------

LISTING = {'title': 'Algebra notes', 'price': 1250, 'description': 'Sixteen pages on groups, rings and fields, with all proofs. ' * 4}


def against_express(name, ours, others):
    """At least four times as many requests as the better of both, with a tenth of the CPU time for each of either."""
    best = max(others, key=lambda side: statistics.median(side.rates))
    cheapest = min(others, key=lambda side: statistics.median(side.costs))
    if name == 'currentuser':
        judge(name, f'throughput of {best.name}', ratios(ours.rates, best.rates), '>=', 4, 'x')
    judge(name, f'CPU time of {cheapest.name}', ratios(ours.costs, cheapest.costs), '<=', 0.1, 'x')


@row
def currentuser():
    stack.fresh()
    path = '/api/users/currentuser'
    stack.start_limit(currentuser=('GET', path))
    ours = Side('auth', path, cookie=stack.cookie, pids=[stack.pid('auth')])
    bare = Side('bare libfcgi', '/bench/limit/bare/currentuser', cookie=stack.cookie, pids=[stack.limit.pid])
    file = Side('static file', '/bench/static/currentuser')
    others = [stack.express(n, path, cookie=stack.cookie) for n in (1, 2)]
    compare('currentuser', [ours, bare, file, *others])
    judge('currentuser', 'throughput of bare libfcgi', ratios(ours.rates, bare.rates), '>=', 0.85, 'x')
    against_express('currentuser', ours, others)


def reading(name, path, limit, seeded):
    stack.fresh()
    stack.seed('listings', 0, seeded)
    stack.start_limit(**{name: ('GET', path)})
    ours = Side('stuff', path, pids=[stack.pid('stuff')])
    driver = Side('driver alone', limit, pids=[stack.limit.pid])
    file = Side('static file', f'/bench/static/{name}')
    others = [stack.express(n, path) for n in (1, 2)]
    compare(name, [ours, driver, file, *others])
    stack.dirty = True
    judge(name, 'throughput of the driver alone', ratios(ours.rates, driver.rates), '>=', 0.85, 'x')
    against_express(name, ours, others)


@row
def show():
    one = '5e0000010000000000000001'
    reading('show', f'/api/stuff/{one}', f'/bench/limit/driver/{one}/show', 1000)


@row
def list_20():
    reading('list', '/api/stuff', '/bench/limit/driver/list', 100)


@row
def home():
    stack.fresh()
    stack.seed('listings', 0, 100)
    stack.dirty = True
    stack.start_limit(home=('GET', '/'))
    ours = Side('storefront', '/', pids=[stack.pid('storefront')])
    file = Side('static file', '/bench/static/home')
    compare('home', [ours, file])
    judge('home', 'throughput of the static file', ratios(ours.rates, file.rates), '>=', 0.5, 'x')


def sent(service):
    """Waits until a service's outboxes are empty, so that the next side has the machine for itself."""
    until(f'the outbox of {service}', lambda: metric(service, 'outbox_events') == 0, 120, pace=0.2)


@row
def create():
    stack.fresh()
    stack.start_limit(create=('POST', '/api/stuff', LISTING))
    stack.without('orders', 'payments', 'expiration')
    request = {'method': 'POST', 'cookie': stack.cookie, 'body': LISTING}
    ours = Side('stuff', '/api/stuff', pids=[stack.pid('stuff')], after=lambda: sent('stuff'), **request)
    driver = Side('driver alone', '/bench/limit/driver/create', pids=[stack.limit.pid], **request)
    other = stack.express(2, '/api/stuff', **request)
    compare('create', [ours, driver, other])
    judge('create', 'throughput of the driver alone', ratios(ours.rates, driver.rates), '>=', 0.8, 'x')


@row
def buy():
    stack.fresh()

    def seeder(first):
        end = [first]

        def seed(side, seconds):
            need = side.first + int(seconds * 1.5 * max([4000, *side.rates])) - end[0]
            if need > 0:
                stack.seed('copies', end[0], need)
                end[0] += need
        return seed
    stack.seed('copies', 0, 1)
    stack.start_limit(buy=('POST', '/api/orders', {'stuffId': f'5e00000200000000{0:08x}'}))
    stack.without('stuff', 'payments', 'expiration')
    request = {'method': 'POST', 'cookie': stack.cookie, 'body': {'stuffId': '%ID'}}
    ours = Side('orders', '/api/orders', pids=[stack.pid('orders')], before=seeder(1), after=lambda: sent('orders'), first=1, **request)
    driver = Side('driver alone', '/bench/limit/driver/%ID/buy', pids=[stack.limit.pid], first=1 << 28, **request)
    reader = Side('driver, reads too', '/bench/limit/driver/%ID/reads/buy', pids=[stack.limit.pid], before=seeder(1 << 29), first=1 << 29,
                  **request)
    compare('buy', [ours, driver, reader])
    judge('buy', 'throughput of the driver alone', ratios(ours.rates, driver.rates), '>=', 0.8, 'x')
    judge('buy', 'throughput of the driver, reads too', ratios(ours.rates, reader.rates), '>=', 0.8, 'x')


@row
def sign_in():
    """An argon2id hash each: no target."""
    stack.fresh()
    path = '/api/users/signin'
    request = {'method': 'POST', 'body': {'email': stack.email, 'password': 'correct horse'}, 'clients': 4}
    compare('sign-in', [Side('auth', path, pids=[stack.pid('auth')], **request), *(stack.express(n, path, **request) for n in (1, 2))])
    stack.dirty = True


TAPPED = ('stuff', 'orders')


@row
def event_delay():
    """200 listings a second are created; tap, between services and database, sees when each is saved, and when orders has its copy."""
    stack.fresh()
    stack.dirty = True
    p = subprocess.Popen([tool('tap'), stack.env['MONGO_URI']], stdout=subprocess.PIPE, text=True)
    started.append(p)
    port = p.stdout.readline().strip()
    for name in TAPPED:
        stack.dev('restart', name, MONGO_URI=f'mongodb://127.0.0.1:{port}')
    seconds, each, senders = 2 * args.seconds, 1 / 200, 8
    begin = time.monotonic() + 0.5
    late = []

    def send(mine):
        c = http.client.HTTPSConnection('localhost', stack.port, context=stack.tls)
        for i in range(mine, int(seconds / each), senders):
            at = begin + i * each
            time.sleep(max(0, at - time.monotonic()))
            late.append(time.monotonic() - at)
            c.request('POST', '/api/stuff', json.dumps(LISTING), {'Content-Type': 'application/json', 'Cookie': stack.cookie})
            r = c.getresponse()
            r.read()
            if r.status != 201:
                late.append(99)
    threads = [threading.Thread(target=send, args=(i,)) for i in range(senders)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sent('stuff')
    time.sleep(1)
    p.terminate()
    delays = sorted(int(line) / 1000 for line in p.stdout)
    p.wait()
    started.remove(p)
    expected = int(seconds / each)
    if len(delays) < expected or max(late) > 90:
        fail(f'of {expected} listings {len(delays)} reached orders')
    p50, p99 = delays[len(delays) // 2], delays[len(delays) * 99 // 100]
    say(f'  {len(delays)} events at 200/s (senders at most {max(late) * 1000:.0f} ms late): '
        f'p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {delays[-1]:.2f} ms')
    measured.append(['event-delay', 'stuff to orders', 'ms p50', p50, delays[0], delays[-1]])
    measured.append(['event-delay', 'stuff to orders', 'ms p99', p99, delays[0], delays[-1]])
    judge('event-delay', 'p50 from commit to applied', [p50], '<=', 3, 'ms')
    judge('event-delay', 'p99 from commit to applied', [p99], '<=', 20, 'ms')


def stored(channel):
    """How many messages a channel of the bus has had so far."""
    with urllib.request.urlopen(f'{stack.env["NATS_MONITOR_URL"]}/streaming/channelsz?channel={channel}') as r:
        return json.load(r)['last_seq']


@row
def relay():
    """What is in the outboxes when stuff starts, against as many messages of that size from cnats alone."""
    stack.fresh()
    stack.dirty = True
    stack.without('orders', 'payments', 'expiration')
    n, first, ours, bare = 30 * BATCH, 0, [], {1: [], BATCH: []}
    stack.ask('POST', '/api/stuff', LISTING, stack.cookie)  # so that there is a channel
    until('the first event', lambda: metric('stuff', 'outbox_events') == 0)
    for _ in range(args.runs):
        stack.dev('kill', 'stuff')
        stack.seed('unsent', first, n)
        first += n
        before, begin, had, end = stored('stuff:created'), None, 0, time.monotonic() + 60
        starting = threading.Thread(target=stack.dev, args=('start', 'stuff'))
        starting.start()
        while had < n:
            time.sleep(0.001)
            had = stored('stuff:created') - before
            if begin is None and had:
                begin, at_first = time.monotonic(), min(had, n - 1)
            if time.monotonic() > end:
                fail(f'the relay sent {had} of {n} events in a minute')
        ours.append((n - at_first) / (time.monotonic() - begin))
        starting.join()
        for batch, rates in bare.items():
            p = subprocess.run([tool('publish'), stack.env['NATS_URL'], stack.env['NATS_CLUSTER_ID'], str(n), '480', str(batch)],
                               text=True, stdout=subprocess.PIPE, check=True)
            rates.append(float(p.stdout))
    for name, rates in [('relay', ours)] + [(f'bare cnats, {batch} at once', rates) for batch, rates in bare.items()]:
        measured.append(['relay', name, 'events/s', *spread(rates)])
        say(f'  {name:24} {spread(rates)[0]:9.0f} events/s ({min(rates):.0f} to {max(rates):.0f})')
    judge('relay', 'throughput of bare cnats, 1 at once', ratios(ours, bare[1]), '>=', 0.8, 'x')
    judge('relay', 'throughput of bare cnats, 64 at once', ratios(ours, bare[BATCH]), '>=', 0.8, 'x')


def many_clients(clients, active, seconds, pace):
    p = subprocess.run([tool('clients'), f'https://localhost:{stack.port}/api/users/currentuser', stack.env['CA_CERT'], str(clients),
                        str(active), str(seconds), str(pace)], text=True, stdout=subprocess.PIPE, check=True)
    requests, errors, p50, p99 = map(int, p.stdout.split()[1:])
    return requests, errors, p50 / 1000, p99 / 1000 if requests else math.inf


@row
def keep_alive():
    """200 clients that ask five times a second each, alone, and with 9,800 others that only keep their connections."""
    stack.fresh()
    alone, among, errors = [], [], 0
    for _ in range(1 if args.quick else 3):
        _, failed, _, p99 = many_clients(200, 200, args.seconds, 200)
        errors += failed
        alone.append(p99)
        _, failed, _, p99 = many_clients(10000, 200, args.seconds, 200)
        errors += failed
        among.append(p99)
    for name, values in ('200 alone', alone), ('200 of 10,000', among):
        measured.append(['keep-alive', name, 'ms p99', *spread(values)])
        say(f'  {name:14} p99 {spread(values)[0]:7.2f} ms ({min(values):.2f} to {max(values):.2f})')
    judge('keep-alive', 'errors', [errors], '<=', 0, '')
    judge('keep-alive', 'p99 of those alone', ratios(among, alone), '<=', 3, 'x')


def most_resident(side, seconds=3):
    """What is resident at most while a side is under load."""
    most, done = [0], threading.Event()

    def look():
        while not done.wait(0.02):
            most[0] = max(most[0], resident(side.pids))
    t = threading.Thread(target=look)
    t.start()
    side.run(seconds)
    done.set()
    t.join()
    return most[0]


@row
def memory():
    stack.fresh()
    stack.seed('listings', 0, 1000)
    stack.dirty = True
    paths = {'auth': '/api/users/currentuser', 'stuff': '/api/stuff', 'orders': '/api/orders', 'payments': '/api/payments/sales',
             'storefront': '/'}
    time.sleep(3)
    idle, loaded = {}, {}
    for name in (*paths, 'expiration'):
        idle[name] = resident([stack.pid(name)])
    express = stack.express(1, '/api/stuff')
    time.sleep(1)
    express_idle = resident(express.pids)
    for name, path in paths.items():
        loaded[name] = most_resident(Side(name, path, cookie=stack.cookie, pids=[stack.pid(name)]))
    express_loaded = most_resident(express)
    for name, value in idle.items():
        under = f', under load {loaded[name]:6.1f} MiB' if name in loaded else ''
        say(f'  {name:12} idle {value:6.1f} MiB{under}')
        measured.append(['memory', name, 'MiB idle', value, value, value])
        if name in loaded:
            measured.append(['memory', name, 'MiB loaded', loaded[name], loaded[name], loaded[name]])
    say(f'  {express.name} idle {express_idle:.1f} MiB, under load {express_loaded:.1f} MiB')
    measured.append(['memory', express.name, 'MiB idle', *[express_idle] * 3])
    measured.append(['memory', express.name, 'MiB loaded', *[express_loaded] * 3])
    judge('memory', 'largest service, idle', [max(idle.values())], '<=', 12, 'MiB')
    judge('memory', 'largest service, under load', [max(loaded.values())], '<=', 24, 'MiB')
    judge('memory', 'largest idle, of Express', [max(idle.values()) / express_idle], '<=', 0.2, 'x')
    judge('memory', 'largest under load, of Express', [max(loaded.values()) / express_loaded], '<=', 0.2, 'x')


curves = {}  # title: (x label, y label, {name: [(x, y)]})


def page_time(path):
    """p50 of a page, asked for by one client alone, in ms; None when a service gives up on the database each time."""
    c = http.client.HTTPSConnection('localhost', stack.port, context=stack.tls)
    times = []
    for _ in range(5 if args.quick else 15):
        since = time.monotonic()
        c.request('GET', path)
        r = c.getresponse()
        r.read()
        if r.status == 200:
            times.append((time.monotonic() - since) * 1000)
        else:
            time.sleep(0.5)  # as long as store-mongo.c then asks no more
    return statistics.median(times) if times else None


def at_page(first, count, share):
    """The cursor of a page that lies so far down the list of the newest first."""
    return f'5e00000100000000{int(first + (count - 1) * (1 - share)):08x}'


@row
def growth():
    """What it costs to have more listings, or more workers. The database of tests sorts by reading all: what grows there is the driver's
    time as much as ours; see test-indexes for what a real one does."""
    stack.fresh()
    stack.dirty = True
    sizes = {'one listing': [], 'first page': [], 'middle page': [], 'last page': [], 'first page, driver alone': []}
    have = 0
    one = '5e0000010000000000000001'
    for count in (1000, 10000, 100000):
        stack.seed('listings', have, count - have)
        have = count
        if not stack.limit:
            stack.start_limit(list=('GET', '/api/stuff'))
        for name, path in (('one listing', f'/api/stuff/{one}'), ('first page', '/api/stuff'),
                           ('middle page', '/api/stuff?cursor=' + at_page(0, count, 0.5)),
                           ('last page', '/api/stuff?cursor=' + at_page(0, count, 0.97)),
                           ('first page, driver alone', '/bench/limit/driver/list')):
            ms = page_time(path)
            if ms is None:
                fail(f'{path}: the database is too slow for {count} listings')
            sizes[name].append((count, ms))
            measured.append(['growth', f'{name} of {count}', 'ms p50', ms, ms, ms])
        say(f'  {count:7} listings: ' + ', '.join(f'{name} {points[-1][1]:.2f} ms' for name, points in sizes.items()))
    curves['listings'] = ('listings', 'ms p50', sizes)
    last, first = sizes['last page'][-1][1], sizes['first page'][-1][1]
    judge('growth', 'last page of 100,000, of the first one', [last / first], '<=', 1.5, 'x')
    judge('growth', 'first page of 100,000, of the driver alone', [first / sizes['first page, driver alone'][-1][1]], '<=', 1.5, 'x')
    stack.fresh()
    stack.dirty = True
    stack.seed('listings', 0, 100)
    workers = {'currentuser': [], 'one listing': []}
    for n in (1, 2, 4, 8, 16, 32, 64):
        for name in 'auth', 'stuff':
            stack.dev('restart', name, FCGI_WORKERS=str(n))
        for what, path, service in (('currentuser', '/api/users/currentuser', 'auth'), ('one listing', f'/api/stuff/{one}', 'stuff')):
            side = Side(service, path, cookie=stack.cookie, clients=64)
            until(service, lambda: stack.answers(path))
            rate = side.run(args.seconds)[0]
            workers[what].append((n, rate))
            measured.append(['growth', f'{what}, {n} workers', 'requests/s', rate, rate, rate])
        say(f'  {n:7} workers:  ' + ', '.join(f'{name} {points[-1][1]:.0f}/s' for name, points in workers.items()))
    curves['workers'] = ('workers', 'requests/s', workers)


def service_env(name, path, client):
    """What dev would give a service; listening on path."""
    given = ('NATS_URL', 'NATS_CLUSTER_ID', 'JWT_KEY', 'BASE_URL', 'REDIS_URL', 'STRIPE_KEY', 'STRIPE_API_BASE', 'STRIPE_WEBHOOK_SECRET')
    return {'PATH': os.environ['PATH'], 'FCGI_SOCKET': path, 'FCGI_WORKERS': str(WORKERS), 'LOG_LEVEL': 'info', 'NATS_CLIENT_ID': client,
            'MONGO_URI': f'{stack.env["MONGO_URI"]}/{name}', **{k: stack.env[k] for k in given}}


def time_to_ready(begin, is_ready):
    since = time.monotonic()
    p = begin()
    while not is_ready():
        if p.poll() is not None or time.monotonic() > since + 60:
            fail('what is started is not ready')
        time.sleep(0.0005)
    took = time.monotonic() - since
    stop(p)
    return took * 1000


@row
def start_up():
    stack.fresh()
    medians = {}
    for name in ('auth', 'stuff', 'orders', 'payments'):
        path = os.path.join(stack.env['RUN_DIR'], 'start.sock')
        times = []
        for i in range(2 * args.runs):
            env = service_env(name, path, f'{name}-start-{i}')
            times.append(time_to_ready(lambda: start([tool(f'../../fcgi/{name}/{name}')], 'start', env=env),
                                       lambda: fcgi_get(path, '/readyz')[0] == 200))
            os.unlink(path)
        medians[name] = spread(times)
        measured.append(['start-up', name, 'ms to ready', *medians[name]])
        say(f'  {name:12} {medians[name][0]:7.1f} ms to ready ({medians[name][1]:.1f} to {medians[name][2]:.1f})')
    times = []
    for _ in range(args.runs):
        since = time.monotonic()
        p = start_express(stack, 1)
        times.append((time.monotonic() - since) * 1000)
        stop(p)
    say(f'  Express      {spread(times)[0]:7.1f} ms to ready')
    measured.append(['start-up', 'Express, 1 process', 'ms to ready', *spread(times)])
    slowest = max(medians.values())
    judge('start-up', 'slowest service', slowest, '<=', 50, 'ms')
    judge('start-up', 'slowest service, of Express', ratios(slowest, [spread(times)[0]] * 3), '<=', 0.1, 'x')


def count_instructions(name, ask, n):
    """All instructions of a service from its start to its end, with n requests between."""
    folder = os.path.join(state, 'results')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(stack.env['RUN_DIR'], name + '.sock')
    log = os.path.join(state, 'log', 'callgrind.log')
    if os.path.exists(log):
        os.unlink(log)
    p = start(['valgrind', '--tool=callgrind', f'--callgrind-out-file={folder}/callgrind.{name}', f'--log-file={log}',
               tool(f'../../fcgi/{name}/{name}')], 'instructions', env=service_env(name, path, name + '-counted'))
    until(name, lambda: fcgi_get(path, '/readyz')[0] == 200, 60)
    for i in range(n):
        ask(i)
    stop(p)
    with open(log) as f:
        return int(re.search(r'Collected : (\d+)', f.read())[1])


@row
def instructions():
    """Counted by valgrind, so the same on any machine and under any load; those of the kernel are not in it."""
    stack.fresh()
    stack.seed('listings', 0, 100)
    stack.seed('copies', 0, 2000)
    stack.without('auth', 'stuff', 'orders', 'payments', 'expiration')
    c = http.client.HTTPSConnection('localhost', stack.port, context=stack.tls)
    number = [0]

    def ask(method, path, body=None):
        c.request(method, path, body, {'Cookie': stack.cookie, 'Content-Type': 'application/json'})
        r = c.getresponse()
        r.read()
        if r.status >= 400:
            fail(f'{method} {path} is answered {r.status}')

    def buy_next(_):
        ask('POST', '/api/orders', json.dumps({'stuffId': f'5e00000200000000{number[0]:08x}'}))
        number[0] += 1

    found = {}
    for what, name, one in (('currentuser', 'auth', lambda _: ask('GET', '/api/users/currentuser')),
                            ('show', 'stuff', lambda _: ask('GET', '/api/stuff/5e0000010000000000000001')),
                            ('list', 'stuff', lambda _: ask('GET', '/api/stuff')),
                            ('buy', 'orders', buy_next)):
        few, many = 50, 450
        found[what] = (count_instructions(name, one, many) - count_instructions(name, one, few)) // (many - few)
        measured.append(['instructions', what, 'instructions/request', *[found[what]] * 3])
    known = {}
    with open(os.path.join(here, 'instructions.txt')) as f:
        for line in f:
            if not line.startswith('#'):
                what, n = line.split()
                known[what] = int(n)
    for what, n in found.items():
        was = f'{n / known[what] - 1:+.1%} of the {known[what]:,} last known' if what in known else 'not known before'
        say(f'  {what:12} {n:9,} instructions a request, {was}')


# --- all of it -------------------------------------------------------------------------------------------------------------

COLOURS = ('#0b6e99', '#c4552d', '#3f7d20', '#7a4fa3', '#9a7d0a')


def svg(name, width, height, parts):
    with open(os.path.join(state, 'results', name + '.svg'), 'w') as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
                f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + '\n'.join(parts) + '\n</svg>\n')


def text(x, y, words, more=''):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(str(words))}</text>'


def plot_targets():
    """A bar for each target: how much of what is asked for is reached; the line is all of it."""
    parts = []
    for i, (name, what, value, least, most, relation, target, unit, met) in enumerate(targets):
        y = 20 + i * 22

        def share(v):
            return min(2, v / target if relation == '>=' else (target / v if v else 2)) if target else 2 * (not v)
        parts += [text(10, y + 12, f'{name}: {what}'),
                  f'<rect x="380" y="{y}" width="{200 * share(value):.0f}" height="15" fill="{COLOURS[0 if met else 1]}"/>',
                  f'<path d="M{380 + 200 * share(least):.0f} {y + 7}H{380 + 200 * share(most):.0f}" stroke="#000"/>',
                  text(790, y + 12, f'{value:.2f} {unit} (target {relation} {target:g})')]
    height = 30 + 22 * len(targets)
    svg('targets', 1010, height, parts + [f'<path d="M580 12V{height - 8}" stroke="#000" stroke-dasharray="4"/>'])


def plot_rates():
    """The sides of each comparison."""
    sides = [m for m in measured if m[2] == 'requests/s' and m[0] != 'growth']
    parts, y = [], 10
    for row_name in dict.fromkeys(m[0] for m in sides):
        group = [m for m in sides if m[0] == row_name]
        best = max(m[5] for m in group)
        parts.append(text(10, y + 14, row_name, 'font-weight="bold"'))
        for _, side, _, median, least, most in group:
            y += 20
            parts += [text(20, y + 12, side), f'<rect x="180" y="{y}" width="{500 * median / best:.0f}" height="14" fill="{COLOURS[0]}"/>',
                      f'<path d="M{180 + 500 * least / best:.0f} {y + 7}H{180 + 500 * most / best:.0f}" stroke="#000"/>',
                      text(690, y + 12, f'{median:.0f}/s')]
        y += 30
    svg('rates', 780, y + 10, parts)


def plot_curves():
    """Both axes are logarithmic: what is flat costs the same, what doubles with the size climbs as steeply as the diagonal."""
    for name, (x_label, y_label, lines) in curves.items():
        points = [p for line in lines.values() for p in line]
        low, high = (([f(math.log10(p[i]) for p in points) for i in (0, 1)]) for f in (min, max))
        low[1], high[1] = math.floor(low[1]), max(math.ceil(high[1]), math.floor(low[1]) + 1)

        def at(p):
            return [60 + 480 * (math.log10(p[0]) - low[0]) / (high[0] - low[0]),
                    340 - 320 * (math.log10(p[1]) - low[1]) / (high[1] - low[1])]
        parts = ['<path d="M60 20V340H540" fill="none" stroke="#000"/>', text(300, 385, x_label), text(10, 14, y_label)]
        for x in dict.fromkeys(p[0] for p in points):
            parts.append(text(at((x, 10 ** low[1]))[0] - 10, 358, f'{x:,}'))
        for power in range(low[1], high[1] + 1):
            y = at((points[0][0], 10 ** power))[1]
            parts += [f'<path d="M60 {y:.0f}H540" stroke="#ddd"/>', text(4, y + 4, f'{10 ** power:g}')]
        for i, (label, line) in enumerate(lines.items()):
            path = ' '.join(f'{x:.0f},{y:.0f}' for x, y in map(at, line))
            parts += [f'<polyline points="{path}" fill="none" stroke="{COLOURS[i]}" stroke-width="2"/>',
                      text(550, 40 + 18 * i, label, f'fill="{COLOURS[i]}"')]
        svg(name, 760, 400, parts)


def summary():
    folder = os.path.join(state, 'results')
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, 'measured.csv'), 'w', newline='') as f:
        w = csv.writer(f)
        w.writerow(['row', 'side', 'unit', 'median', 'least', 'most'])
        w.writerows(measured)
    lines = []
    for name, what, value, least, most, relation, target, unit, met in targets:
        lines.append(f'{name:12} {what:44} {value:9.2f} {unit:3} ({least:.2f} to {most:.2f})   target {relation} {target:g}   '
                     f'{"met" if met else "NOT MET"}')
    with open(os.path.join(folder, 'summary.txt'), 'w') as f:
        f.write('\n'.join(lines) + '\n')
    plot_targets()
    plot_rates()
    plot_curves()
    say()
    say('\n'.join(lines))
    say(f'{sum(t[-1] for t in targets)} of {len(targets)} targets met; the figures are in {folder}')


def main():
    os.makedirs(os.path.join(state, 'log'), exist_ok=True)
    atexit.register(stack.down)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    stack.up()
    subprocess.run(['make', '-s', '-C', os.path.join(state, 'build'), *(f't/bench/{t}' for t in TOOLS)], check=True,
                   stdout=subprocess.DEVNULL)
    for name in args.names or rows:
        began = time.monotonic()
        say(f'== {name}')
        rows[name]()
        say(f'   {time.monotonic() - began:.0f} s')
    summary()


parser = argparse.ArgumentParser(prog='./dev bench', description='Rows: ' + ', '.join(rows))
parser.add_argument('--quick', action='store_true', help='3 runs of 2 s instead of 5 of 3')
parser.add_argument('names', nargs='*', metavar='NAME')
args = parser.parse_args()
for unknown in set(args.names) - set(rows):
    fail(f"there is no row '{unknown}'; there are: {', '.join(rows)}")
args.runs, args.seconds = (3, 2) if args.quick else (5, 3)
stack = Stack()
main()

"""`./dev bench [--quick] [NAME...]`: how near the services come to what is possible at all. See t/bench/README.md.

Writes to DEV_STATE/bench and prints a summary. Each comparison alternates its sides (A B A B ...), all behind one nginx with the edge's own
configuration and on one database, and judges the median of the pairs' ratios; the spread is their smallest and largest.
"""
import argparse
import atexit
import csv
import http.client
import json
import os
import shlex
import signal
import ssl
import statistics
import subprocess
import sys
import time

top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
here = os.path.join(top, 't', 'bench')
state = os.path.join(os.environ['DEV_STATE'], 'bench')
tools = os.environ['DEV_TOOLS']
WORKERS = 8  # of each service, and of what it is compared with
CLIENTS = 32
TICK = os.sysconf('SC_CLK_TCK')

rows = {}  # name: function, in the order of the table
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
    """A process in the background, which ends with us."""
    with open(os.path.join(state, 'log', log + '.log'), 'ab') as out:
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, **more)
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


def until(what, true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            fail(f'{what} takes more than {seconds} s')
        time.sleep(0.01)


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
        env = dict(os.environ, DEV_STATE=state, DEV_TOOLS=tools, DEV_PORT='0', DEV_MONGO='memory', DEV_STRIPE='scripted',
                   DEV_RATE='1000000', FCGI_WORKERS=str(WORKERS), **more)
        env.update(self.database)
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
        """As dev does, but with memory for a hundred thousand listings; a mongod that is there is taken instead."""
        if any(os.access(os.path.join(d, 'mongod'), os.X_OK) for d in os.environ['PATH'].split(':')):
            return
        port = subprocess.run([sys.executable, os.path.join(top, 't/servers/ports.py'), 'mongo', '0'], text=True, check=True,
                              stdout=subprocess.PIPE).stdout.split()[1]
        jars = os.path.join(tools, 'jars')
        self.mongo = start(['java', '-Xmx1g', '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData',
                            '-cp', f'{jars}:{jars}/*', 'MongoServer', port], 'mongo')
        self.database = {'MONGO_URI': f'mongodb://127.0.0.1:{port}'}
        until('the database', lambda: listens(int(port)))

    def start_nginx(self):
        with open(os.path.join(state, 'nginx/nginx.conf')) as f:
            conf = f.read()
        routes = f'include "{state}/nginx/routes.conf";'
        assert conf.count(routes) == 1 and conf.count('server_tokens off;') == 1
        http = ''
        locations = (f'location ^~ /bench/static/ {{ alias "{state}/bodies/"; open_file_cache max=64; }}\n'
                     f'location ^~ /bench/limit/ {{ include "{top}/nginx/fastcgi.conf"; fastcgi_pass "unix:{self.env["RUN_DIR"]}/limit.sock"; }}\n')
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

    def ask(self, method, path, body=None, cookie='', headers=()):
        c = http.client.HTTPSConnection('localhost', self.port, context=self.tls)
        c.request(method, path, body if body is None or isinstance(body, str) else json.dumps(body),
                  {'Content-Type': 'application/json', **({'Cookie': cookie} if cookie else {}), **dict(headers)})
        r = c.getresponse()
        text = r.read()
        c.close()
        if r.status >= 400:
            fail(f'{method} {path} is answered {r.status} {text[:300]}')
        return r, text

    def sign_up(self):
        self.email = f'bench{time.time_ns()}@example.edu'
        r, _ = self.ask('POST', '/api/users/signup', {'email': self.email, 'password': 'correct horse'})
        self.cookie = next(c.partition(';')[0] for c in r.headers.get_all('Set-Cookie') if c.startswith('__Host-session='))

    def seed(self, what, first, count):
        subprocess.run([tool('seed'), self.env['MONGO_URI'], what, str(first), str(count)], check=True)

    def start_limit(self, **bodies):
        """Captures what the services answer, NAME=PATH, and starts limit with these as its constants."""
        folder = os.path.join(state, 'bodies')
        os.makedirs(folder, exist_ok=True)
        for name, path in bodies.items():
            if isinstance(path, str):
                _, text = self.ask('GET', path, cookie=self.cookie if name == 'currentuser' else '')
            else:
                text = json.dumps(path).encode()
            with open(os.path.join(folder, name), 'wb') as f:
                f.write(text)
        if self.limit:
            stop(self.limit)
        socket = os.path.join(self.env['RUN_DIR'], 'limit.sock')
        self.limit = start([tool('limit'), socket, str(WORKERS), folder], 'limit', env=dict(os.environ, MONGO_URI=self.env['MONGO_URI']))
        until('limit', lambda: self.limit.poll() is None and os.path.exists(socket))

    def express_pids(self, n):
        """Of the service with n processes, and the one that started them."""
        if n not in self.expresses:
            self.expresses[n] = start_express(self, n)
        return self.expresses[n]


def listens(port):
    import socket
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def tool(name):
    return os.path.join(state, 'build', 't/bench', name)


# --- measuring -------------------------------------------------------------------------------------------------------------

first_id = [0]  # numbers of seeded copies that were used


class Side:
    """One of those that are compared: where it is asked what, and whose CPU time that takes."""

    def __init__(self, name, path, method='GET', cookie='', body='', pids=(), clients=CLIENTS):
        self.name, self.path, self.method, self.cookie, self.body = name, path, method, cookie, body
        self.pids, self.clients = list(pids), clients
        self.rates, self.costs, self.p50, self.p99, self.errors, self.peak = [], [], [], [], 0, 0

    def run(self, seconds):
        before = cpu(self.pids)
        p = subprocess.run(['wrk', '-t1', f'-c{self.clients}', f'-d{seconds}s', '--timeout', '10s', '-s', os.path.join(here, 'load.lua'),
                            f'https://localhost:{stack.port}{self.path}', '--', self.method, self.cookie, self.body, str(first_id[0])],
                           text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        line = next((s for s in p.stdout.splitlines() if s.startswith('RESULT ')), None)
        if line is None:
            fail(f'wrk says:\n{p.stdout}')
        requests, us, errors, p50, p99 = map(int, line.split()[1:])
        first_id[0] += requests + self.clients
        if requests == 0:
            fail(f'{self.path} answers nothing')
        return requests / us * 1e6, (cpu(self.pids) - before) / requests * 1e6, p50 / 1000, p99 / 1000, errors

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

@row
def currentuser():
    stack.fresh()
    path = '/api/users/currentuser'
    stack.start_limit(currentuser=path)
    ours = Side('auth', path, cookie=stack.cookie, pids=[stack.pid('auth')])
    bare = Side('bare libfcgi', '/bench/limit/bare/currentuser', cookie=stack.cookie, pids=[stack.limit.pid])
    file = Side('static file', '/bench/static/currentuser')
    compare('currentuser', [ours, bare, file])
    judge('currentuser', 'throughput of bare libfcgi', ratios(ours.rates, bare.rates), '>=', 0.85, 'x')


def reading(name, path, limit, seeded=1000):
    stack.fresh()
    stack.seed('listings', 0, seeded)
    stack.start_limit(**{name: path})
    ours = Side('stuff', path, pids=[stack.pid('stuff')])
    driver = Side('driver alone', limit, pids=[stack.limit.pid])
    compare(name, [ours, driver])
    stack.dirty = True
    judge(name, 'throughput of the driver alone', ratios(ours.rates, driver.rates), '>=', 0.85, 'x')


@row
def show():
    one = '5e0000010000000000000001'
    reading('show', f'/api/stuff/{one}', f'/bench/limit/driver/{one}/show')


@row
def list_20():
    reading('list', '/api/stuff', '/bench/limit/driver/list', 100)


# --- all of it -------------------------------------------------------------------------------------------------------------

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
    say()
    say('\n'.join(lines))
    say(f'{sum(t[-1] for t in targets)} of {len(targets)} targets met; the figures are in {folder}')


def main():
    os.makedirs(os.path.join(state, 'log'), exist_ok=True)
    atexit.register(stack.down)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    stack.up()
    subprocess.run(['make', '-s', '-C', os.path.join(state, 'build'), *(f't/bench/{t}' for t in ('limit', 'seed'))], check=True,
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

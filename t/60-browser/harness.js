// harness.js: a stack of one's own for a test, students at browsers, and TAP. What harness.h is to the tests in C.
// SPDX-License-Identifier: MIT
'use strict';

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const top = process.env.top_srcdir || path.join(__dirname, '../..');
const modules = path.join(process.env.DEV_TOOLS, 'browser/node_modules');
const need = (name) => require(path.join(modules, name));
const { chromium } = need('playwright-core');
const CHROMIUM = process.env.CHROME_PATH || '/usr/bin/chromium';
// The sandbox is not for root, who runs the tests in a container.
const FLAGS = ['--headless=new', ...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-gpu', '--disable-dev-shm-usage',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
const PATIENCE = Number(process.env.T_PATIENCE || 60_000); // ms that anything may take; other tests run at the same time

const note = (text) => console.log(String(text).replace(/^/gm, '# '));

// --- the stack ------------------------------------------------------------------------------------------------------------

const state = fs.mkdtempSync('/tmp/ticketing.');
let settled; // what `dev env` tells
const stack = () => settled;

const environment = (settings) => ({
    ...process.env,
    DEV_STATE: state, DEV_BUILD: process.env.top_builddir || '.', DEV_PORT: '0', DEV_MONGO: 'memory',
    DEV_STRIPE: process.env.DEV_STRIPE || 'scripted',
    ...settings,
});

// dev('restart', 'orders', {EXPIRATION_WINDOW_SECONDS: '5'}): the arguments of ./dev, then settings for its environment.
function dev(...args) {
    const settings = typeof args.at(-1) === 'object' ? args.pop() : {};
    const ran = spawnSync(path.join(top, 'dev'), args, { env: environment(settings), encoding: 'utf8' });
    if (ran.status !== 0)
        throw new Error(`dev ${args.join(' ')}: exit status ${ran.status}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout;
}

function up(settings = {}) {
    process.on('exit', down);
    for (const signal of ['SIGINT', 'SIGTERM'])
        process.on(signal, () => process.exit(1));
    dev('up', settings);
    const lines = execFileSync('bash', ['-c', 'set -a; eval "$("$0" env)"; env -0', path.join(top, 'dev')],
        { env: environment(settings), encoding: 'utf8' });
    settled = Object.fromEntries(lines.split('\0').map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]));
}

function down() {
    const told = /Sanitizer:|runtime error:/;
    spawnSync(path.join(top, 'dev'), ['down'], { env: environment({}) });
    const logs = path.join(state, 'log');
    for (const log of fs.existsSync(logs) ? fs.readdirSync(logs) : []) {
        const text = fs.readFileSync(path.join(logs, log), 'utf8');
        if (told.test(text)) {
            note(text.slice(text.search(told), 8000));
            console.log(`Bail out! A sanitizer told of ${log}`);
            process.exitCode = 1;
        }
    }
    if (process.env.T_KEEP) note(`kept: ${state}`);
    else fs.rmSync(state, { recursive: true, force: true });
}

// What the services complained of last.
function complaints() {
    const logs = path.join(state, 'log');
    return fs.readdirSync(logs).flatMap((log) => fs.readFileSync(path.join(logs, log), 'utf8').split('\n')
        .filter((line) => /"level":"(warn|error)"/.test(line)).slice(-3).map((line) => `\n${log}: ${line}`)).join('');
}

// Polls until what() is true, and gives what it was.
async function eventually(what, text = what.toString()) {
    const until = Date.now() + PATIENCE;
    for (;;) {
        const is = await what();
        if (is) return is;
        if (Date.now() > until) throw new Error(`still not so: ${text}`);
        await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
}

// --- students at browsers -------------------------------------------------------------------------------------------------

let browser;
const students = [];
let count = 0;

// A window of its own, with cookies of its own, and someone who looks at `page`. Whatever runs a script that it should not, or meets
// the content security policy, is kept in `alarms`, and fails the test.
class Student {
    static async at({ js = true, scheme = 'light', width = 1280, height = 800, ...more } = {}) {
        browser ??= await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, chromiumSandbox: false });
        const student = new Student();
        student.window = await browser.newContext({
            baseURL: settled.BASE_URL, ignoreHTTPSErrors: true, javaScriptEnabled: js, colorScheme: scheme, reducedMotion: 'reduce',
            viewport: { width, height }, ...more,
        });
        student.window.setDefaultTimeout(PATIENCE);
        student.alarms = [];
        student.window.on('page', (page) => student.watch(page));
        student.page = await student.window.newPage();
        student.email = `student-${process.pid}-${++count}@students.example`;
        student.password = `correct horse ${count}`;
        students.push(student);
        return student;
    }

    // Has an account already, which it did not make at a form.
    static async signedUp(options, name = '') {
        const student = await Student.at(options);
        student.user = await student.api('POST', '/api/users/signup', { email: student.email, password: student.password, ...(name && { name }) });
        return student;
    }

    static async admin(options) {
        const student = await Student.signedUp(options);
        dev('run', 'auth', '--make-admin', student.email);
        await student.api('POST', '/api/users/refresh');
        return student;
    }

    watch(page) {
        page.on('dialog', (dialog) => {
            this.alarms.push(`a dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
        page.on('pageerror', (error) => this.alarms.push(`a script failed: ${error}`));
        page.on('console', (message) => {
            // What answers 4xx on purpose is told here too.
            if (message.type() === 'error' && !/^Failed to load resource: the server responded/.test(message.text()))
                this.alarms.push(message.text());
        });
    }

    // Asks an API with the window's cookies; what it answers, or an error with its status.
    async api(method, where, data, headers) {
        const answer = await this.window.request.fetch(where, { method, data, headers, timeout: PATIENCE });
        if (!answer.ok())
            throw Object.assign(new Error(`${method} ${where}: ${answer.status()} ${await answer.text()}`), { status: answer.status() });
        return answer.status() === 204 ? null : answer.json();
    }

    // Lists something with a file. Others can buy it as soon as orders heard of it: then its seller is told that it is their own.
    async lists(title, price, description = 'As good as new.') {
        const stuff = await this.api('POST', '/api/stuff', { title, description, price });
        stuff.bytes = Buffer.from(`the file of ${title}\n`);
        await this.api('PUT', `/api/stuff/${stuff.id}/file`, stuff.bytes,
            { 'Content-Type': 'application/pdf', 'Content-Disposition': 'attachment; filename="notes.pdf"' });
        await eventually(() => this.api('POST', '/api/orders', { stuffId: stuff.id }).catch((error) => error.status === 400),
            'orders hears of a listing');
        stuff.path = `/stuff/x-${stuff.id}`;
        return stuff;
    }

    async opens(where) {
        const answer = await this.page.goto(where);
        await this.page.waitForLoadState('load');
        return answer;
    }

    // A page leaves out what came too late, and says so: who looks for it there opens the page again.
    async finds(isThere, what) {
        await eventually(async () => {
            if (await isThere().catch(() => false)) return true;
            if (/can.t (be shown|be reached|check) right now/.test(await this.text().catch(() => ''))) await this.page.reload();
            return false;
        }, `${what} is on the page`);
    }
    async clicks(found) {
        await this.finds(() => found.count(), found);
        await found.click();
    }
    async presses(name) { await this.clicks(this.page.getByRole('button', { name, exact: typeof name === 'string' })); }
    async follows(name) { await this.clicks(this.page.locator('main').getByRole('link', { name, exact: typeof name === 'string' }).first()); }
    async fills(label, value) { await this.page.getByLabel(label).fill(value); }
    path() { return new URL(this.page.url()).pathname; }
    async arrives(pattern) { await this.page.waitForURL((url) => pattern.test(url.pathname + url.search)); }
    async text() { return (await this.page.locator('main').innerText()).replace(/\s+/g, ' '); }
    async says(what) { return (await this.text()).toLowerCase().includes(what.toLowerCase()); }
    // For what an event is on its way to: opens the page until it says so.
    async comesToRead(where, what) {
        await eventually(async () => (await this.opens(where)) && this.says(what), `"${what}" at ${where}`);
    }
    async reads(what) { await this.finds(() => this.says(what), `"${what}"`); }
}

// --- TAP ------------------------------------------------------------------------------------------------------------------

const tests = [];
const test = (name, run) => tests.push({ name, run });

// Runs all tests in order, or those whose names hold the first argument, on a stack that is up for all of them.
async function main(settings) {
    const wanted = tests.filter(({ name }) => !process.argv[2] || name.includes(process.argv[2]));
    let failed = 0;
    up(settings);
    console.log(`1..${wanted.length}`);
    for (const [i, { name, run }] of wanted.entries()) {
        const began = Date.now();
        let why = '';
        try {
            await run();
        } catch (error) {
            why = error.stack;
            for (const student of students)
                for (const page of student.window.pages())
                    why += `\n${page.url()}: ${(await page.innerText('body').catch(String)).slice(0, 1500)}`;
            why += complaints();
        }
        for (const student of students)
            why += student.alarms.map((alarm) => `\n${alarm}`).join('');
        if (why) note(why);
        if (why) failed++;
        await Promise.all(students.splice(0).map((student) => student.window.close()));
        console.log(`${why ? 'not ok' : 'ok'} ${i + 1} - ${name} # ${Date.now() - began} ms`);
    }
    await browser?.close();
    process.exitCode = failed === 0 && wanted.length > 0 ? 0 : 1;
}

const run = (settings) => main(settings).catch((error) => {
    note(error.stack);
    console.log('Bail out! The stack or the browser did not come up');
    process.exitCode = 1;
});

module.exports = { CHROMIUM, FLAGS, PATIENCE, Student, dev, eventually, modules, need, note, run, stack, test };

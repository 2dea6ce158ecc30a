// Every page of the shop: valid, accessible in both themes, light on the wire, and deaf to what is typed into its forms.
// SPDX-License-Identifier: MIT
'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Student, modules, need, note, run, test } = require('./harness.js');
const { build } = require('./site.js');

const HELD = 'The stuff is being checking out by someone else, please come back later';
const axe = need('axe-core').source;

// Shows each page to look(page, its description).
async function everyPage(site, look) {
    for (const { name, who, path: where, status } of site.pages) {
        const answer = await who.opens(where);
        assert.equal(answer.status(), status, `${name}, ${where}`);
        await look(who.page, name);
    }
    // The one page that only a form leads to.
    await site.fresh.opens(site.held.path);
    await site.fresh.page.goto(site.free.path);
    await site.fresh.page.evaluate((action) => { document.querySelector('form[action$="/buy"]').action = action; },
        `/stuff/${site.held.id}/buy`);
    await site.fresh.page.getByRole('button', { name: 'BUY', exact: true }).click();
    await site.fresh.reads(HELD);
    await look(site.fresh.page, 'busy');
}

// What axe finds, by all of its rules or by those named.
async function violations(page, ...rules) {
    const { violations: found } = await page.evaluate(
        (only) => axe.run(document, { resultTypes: ['violations'], ...(only.length && { runOnly: only }) }), rules);
    return found.map(({ id, help, nodes }) =>
        `${id}: ${help}\n${nodes.slice(0, 3).map((node) => `    ${node.html.slice(0, 200)}\n    ${node.failureSummary}`).join('\n')}`);
}

// T_SHOTS=FOLDER keeps a picture of every page.
async function picture(page, file) {
    if (process.env.T_SHOTS) await page.screenshot({ path: path.join(process.env.T_SHOTS, `${file}.png`), fullPage: true });
}

test('axe finds nothing on any page in either theme, and nothing is wider than the screen', async () => {
    const site = await build();
    const found = [];
    // It does see what is wrong: a field whose label was taken away.
    await site.visitor.opens('/');
    await site.visitor.page.evaluate(axe);
    await site.visitor.page.evaluate(() => {
        document.querySelector('label[for=q]').remove();
        document.querySelector('#q').removeAttribute('placeholder');
    });
    assert.match((await violations(site.visitor.page)).join(), /^label:/);
    await everyPage(site, async (page, name) => {
        await page.evaluate(axe);
        for (const width of [1280, 390]) {
            await page.setViewportSize({ width, height: width === 390 ? 844 : 800 });
            for (const scheme of ['light', 'dark']) {
                await page.emulateMedia({ colorScheme: scheme });
                // Of what axe looks at, a theme changes colours and nothing else.
                for (const violation of await violations(page, ...(scheme === 'dark' ? ['color-contrast'] : [])))
                    found.push(`${name}, ${scheme}, ${width}: ${violation}`);
                await picture(page, `${name}-${scheme}-${width}`);
            }
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            if (wide > 0) found.push(`${name}: ${wide} pixels wider than ${width}`);
        }
    });
    assert.equal(found.length, 0, found.join('\n'));
});

test('every page is valid HTML, has a title of its own, one h1, and nothing inline', async () => {
    const site = await build({ js: false });
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pages-'));
    const titles = new Map(), wrong = [];
    try {
        await everyPage(site, async (page, name) => {
            const html = name === 'busy' ? await page.content()
                : await (await page.context().request.get(page.url())).text();
            fs.writeFileSync(path.join(folder, `${name}.html`), html);
            const title = await page.title();
            const about = name.replace(/-.*/, '');
            if (titles.has(title) && titles.get(title) !== about) wrong.push(`${name} and ${titles.get(title)} are both "${title}"`);
            titles.set(title, about);
            if (await page.locator('h1').count() !== 1) wrong.push(`${name} has no h1, or several`);
            if (await page.locator('[style], style, script:not([src]):not([type="application/ld+json"])').count())
                wrong.push(`${name} has a style or a script of its own`);
        });
        try {
            execFileSync('java', ['-jar', path.join(modules, 'vnu-jar/build/dist/vnu.jar'), '--errors-only', folder], { encoding: 'utf8' });
        } catch (error) {
            wrong.push(error.stderr.replaceAll(`file:${folder}/`, ''));
        }
    } finally {
        fs.rmSync(folder, { recursive: true });
    }
    assert.equal(wrong.length, 0, wrong.join('\n'));
});

test('the first page comes in under 30 kB with everything, and asks nobody else', async () => {
    const seller = await Student.signedUp();
    for (let i = 0; i < 24; i++)
        await seller.api('POST', '/api/stuff', { title: `Lecture notes, volume ${i}, with all exercises`, description: '', price: 100 + 7 * i });
    const visitor = await Student.at({ width: 390 });
    const network = await visitor.window.newCDPSession(visitor.page);
    let bytes = 0;
    const asked = new Set();
    await network.send('Network.enable');
    network.on('Network.requestWillBeSent', ({ request }) => asked.add(new URL(request.url).origin));
    network.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
    await visitor.page.goto('/', { waitUntil: 'networkidle' });
    note(`${bytes} bytes`);
    assert.ok(await visitor.page.locator('.ticket').count() >= 20);
    assert.ok(bytes > 2000 && bytes < 30_000, `${bytes} bytes`);
    assert.equal(asked.size, 1, [...asked].join(' '));
});

// What would do something if it were ever taken for markup, a script, a template or a link.
const EVIL = [
    '"><script>pwn()</script><img src=x onerror=pwn()>\'</textarea></title>{{csrf}}',
    'javascript:pwn()',
];

for (const evil of EVIL)
    test(`${evil} is text wherever it is shown`, async () => {
        const site = await build({}, evil);
        const clean = async (page, name) => {
            const hit = await page.evaluate(() => document.querySelector('body img[src="x"], body script, [href^="javascript:" i], [action^="javascript:" i]') !== null);
            assert.equal(hit, false, `${name} took it for markup`);
        };
        await everyPage(site, clean);
        await site.visitor.opens(site.free.path);
        assert.ok((await site.visitor.page.locator('h1').innerText()).includes(evil), 'the title is shown as it is');
        await site.visitor.reads(evil);

        // Every form once more, by hand, with it in every field.
        for (const { name, who, path: where } of site.pages) {
            const forms = await who.opens(where) && await who.page.locator('main form').count();
            for (let n = 0; n < forms; n++) {
                await who.opens(where);
                const form = who.page.locator('main form').nth(n);
                if (await form.count() === 0 || /erase|ban$|\/end|signout|cancel|remove|refund/.test(await form.getAttribute('action'))) continue;
                const fields = form.locator('input:not([type=hidden], [type=radio], [type=checkbox], [type=file], [type=email], [type=datetime-local]), textarea:not([readonly])');
                if (await fields.count() === 0) continue;
                for (const field of await fields.all()) {
                    if (!await field.isVisible()) continue;
                    await field.fill(evil);
                }
                await form.evaluate((element) => { element.noValidate = true; });
                await form.getByRole('button').first().click();
                await who.page.waitForLoadState('load');
                await clean(who.page, `${name}, form ${n}`);
            }
        }
    });

test('a form from elsewhere, or with a token of someone else, changes nothing', async () => {
    const [student, other] = [await Student.signedUp(), await Student.signedUp()];
    const token = async (who) => {
        await who.opens('/sell/new');
        return who.page.locator('main input[name=csrf]').first().inputValue();
    };
    const [own, foreign] = [await token(student), await token(other)];
    const home = new URL(student.page.url()).origin;
    const post = async (csrf, origin) => (await student.window.request.post('/sell/new', {
        form: { csrf, title: 'Forged', description: '', price: '5' }, headers: { Origin: origin }, maxRedirects: 0,
    })).status();
    assert.equal(await post(own, 'https://example.org'), 403);
    assert.equal(await post(own, 'null'), 403);
    assert.equal(await post(foreign, home), 403);
    assert.equal(await post('', home), 403);
    await student.opens('/sell');
    await student.reads('Nothing here');
    assert.equal(await post(own, home), 303);
});

test('after the sign-out nothing of the account is left in the browser', async () => {
    const student = await Student.signedUp();
    await student.opens('/account');
    assert.ok((await student.text()).includes(student.email));
    const kept = () => student.page.evaluate(async () => [localStorage.length, sessionStorage.length, document.cookie,
        (await indexedDB.databases()).length, (await caches.keys()).length].join());
    assert.equal(await kept(), '0,0,,0,0');
    await student.page.locator('form[action="/signout"]').getByRole('button').last().click();
    await student.arrives(/done=signed-out/);
    assert.equal(await kept(), '0,0,,0,0');
    await student.page.goBack();
    await student.page.waitForLoadState('load');
    assert.ok(!(await student.text()).includes(student.email), 'the way back shows it');
});

test('who signs in is led back into the shop, and nowhere else', async () => {
    for (const next of ['javascript:pwn()', '//example.org/', 'https://example.org/', '/\\\\example.org']) {
        const student = await Student.signedUp();
        await student.window.clearCookies();
        await student.opens(`/signin?next=${encodeURIComponent(next)}`);
        const home = new URL(student.page.url()).origin;
        await student.fills('E-mail address', student.email);
        await student.fills('Password', student.password);
        await student.presses('Sign in');
        await student.page.waitForURL((url) => url.pathname !== '/signin');
        assert.equal(new URL(student.page.url()).origin, home, next);
    }
});

run();

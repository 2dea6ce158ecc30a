// Students sell, admins see to it, and what is typed is never lost: in browsers, with and without JavaScript.
// SPDX-License-Identifier: MIT
'use strict';

const assert = require('node:assert/strict');
const { Student, eventually, run, test } = require('./harness.js');

for (const js of [true, false]) {
    const how = js ? 'with JavaScript' : 'without JavaScript';

    test(`a student lists something, mends it, and uploads the file, ${how}`, async () => {
        const seller = await Student.signedUp({ js }, 'Mia');
        const { page } = seller;

        await seller.opens('/sell');
        await seller.follows('Sell something');
        await seller.arrives(/^\/sell\/new/);
        await seller.fills('Title', `Statistics in two pages ${how}`);
        await seller.fills('Description', 'First line\nsecond line');
        await seller.fills('Price in dollars', 'twelve');
        await seller.presses('List it, then add the file');
        await page.locator('#price-error').waitFor();
        assert.equal(await page.getByLabel('Title').inputValue(), `Statistics in two pages ${how}`, 'what was typed is kept');
        assert.equal(await page.getByLabel('Description').inputValue(), 'First line\nsecond line');
        assert.equal(await page.getByLabel('Price in dollars').inputValue(), 'twelve');
        assert.match(await page.getByLabel('Price in dollars').getAttribute('aria-describedby'), /price-error/);
        if (js) assert.equal(await page.evaluate(() => document.activeElement.id), 'price', 'one stands where it is to be mended');
        await seller.fills('Price in dollars', '12.50');
        await seller.presses('List it, then add the file');
        await seller.arrives(/^\/sell\/[0-9a-f]{24}\/file/);

        // Slow enough for its progress to be seen.
        const bytes = Buffer.alloc(600_000, 'stuff ');
        if (js) {
            const network = await seller.window.newCDPSession(page);
            await network.send('Network.emulateNetworkConditions',
                { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 400_000 });
        }
        await page.getByLabel('File', { exact: true }).setInputFiles({ name: 'stats.pdf', mimeType: 'application/pdf', buffer: bytes });
        await seller.presses('Upload');
        if (js) await page.getByRole('progressbar').waitFor();
        await seller.arrives(/^\/sell(\/[0-9a-f]{24})?(\?|$)/);
        await seller.opens('/sell');
        await seller.reads('stats.pdf');
        await page.getByRole('link', { name: `Statistics in two pages ${how}`, exact: true }).click();
        await seller.reads('$12.50');
        await seller.reads('stats.pdf');

        const buyer = await Student.at({ js });
        await buyer.opens(seller.path());
        await buyer.reads('Sign in to BUY');
        await buyer.reads('Mia');

        // What is held can't be changed, and its seller reads why.
        await buyer.api('POST', '/api/users/signup', { email: buyer.email, password: buyer.password });
        await buyer.opens(seller.path());
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await seller.comesToRead('/sell', 'Being checked out');
    });

    test(`a picture takes the place of the drawn cover, ${how}`, async () => {
        const seller = await Student.signedUp({ js });
        const stuff = await seller.lists(`Watercolours ${how}`, 800);
        const shown = () => seller.page.locator('.cover img').first().evaluate((image) => image.complete && image.naturalWidth);

        await seller.opens(stuff.path);
        assert.equal(await seller.page.locator('.cover img').count(), 0);
        assert.equal(await seller.page.locator('.cover b').innerText(), 'WW');
        const png = await seller.page.screenshot({ clip: { x: 0, y: 0, width: 160, height: 100 } });
        await seller.opens('/sell');
        await seller.follows(/^Picture/);
        await seller.page.getByLabel('Picture').setInputFiles({ name: 'cover.png', mimeType: 'image/png', buffer: png });
        await seller.presses('Upload');
        await seller.page.waitForURL((url) => !url.pathname.endsWith('/picture'));
        await seller.opens(stuff.path);
        if (js) await eventually(async () => await shown() === 160, 'the picture is shown');
        else assert.match(await seller.page.locator('.cover img').getAttribute('src'), /picture/);
        await seller.opens(`/sell/${stuff.id}/picture`);
        await seller.page.getByLabel('Picture').setInputFiles({ name: 'x.png', mimeType: 'image/png', buffer: Buffer.from('<svg onload="pwn()">') });
        await seller.presses('Upload');
        await seller.page.locator('.error:visible, [role=alert]:visible').first().waitFor();
    });

    test(`an admin makes a coupon and bans a student, ${how}`, async () => {
        const admin = await Student.admin({ js });
        const rogue = await Student.signedUp({ js });
        const stuff = await rogue.lists(`Spam ${how}`, 100);

        await admin.opens('/admin/coupons');
        await admin.fills('Percent off', '101');
        await admin.presses('Make coupons');
        await admin.page.locator('#percentOff-error').waitFor();
        assert.equal(await admin.page.getByLabel('Percent off').inputValue(), '101');
        await admin.fills('Percent off', '25');
        await admin.fills('How many', '3');
        await admin.presses('Make coupons');
        await admin.page.getByLabel('Codes, one on each line').waitFor();
        const codes = (await admin.page.getByLabel('Codes, one on each line').inputValue()).trim().split('\n');
        assert.equal(codes.length, 3);
        await admin.reads(codes[2]);
        if (js) {
            await admin.window.grantPermissions(['clipboard-read', 'clipboard-write']);
            await admin.presses('Copy');
            await admin.page.getByText('Copied').waitFor();
        }

        await admin.opens('/admin/users');
        await admin.fills('Address or name', rogue.email);
        await admin.presses('Search');
        await admin.page.locator('summary', { hasText: 'Ban' }).click();
        await admin.fills('Why', 'spam');
        await admin.presses(`Ban ${rogue.email}`);
        await admin.reads('banned');
        await admin.reads('spam');

        await eventually(async () => (await rogue.opens('/orders')).status() === 403, 'who is banned is kept out');
        await rogue.reads('Your account is banned');
        await rogue.window.clearCookies();
        await rogue.opens('/signin');
        await rogue.fills('E-mail address', rogue.email);
        await rogue.fills('Password', rogue.password);
        await rogue.presses('Sign in');
        await rogue.page.getByRole('alert').waitFor();
        await eventually(async () => {
            await admin.opens(`/?q=${encodeURIComponent(`Spam ${how}`)}`);
            return (await admin.text()).includes('Nothing like that');
        }, 'what they sell is hidden');

        await admin.opens(`/admin/users?q=${encodeURIComponent(rogue.email)}`);
        await admin.presses(`Unban ${rogue.email}`);
        await admin.reads('active');
        await rogue.fills('E-mail address', rogue.email);
        await rogue.fills('Password', rogue.password);
        await rogue.presses('Sign in');
        await rogue.page.waitForURL((url) => url.pathname !== '/signin');
        await eventually(async () => (await rogue.opens(stuff.path)).status() === 200, 'what they sell is back');
    });

    test(`the sign-in ends in the middle of a form, and nothing typed is lost, ${how}`, async () => {
        const seller = await Student.signedUp({ js });
        const title = `Half-typed "notes" & <more> ${how}`;

        // The short token is over, as every 15 minutes: the student never notices.
        await seller.opens('/sell/new');
        await seller.fills('Title', 'First of two');
        await seller.fills('Price in dollars', '3');
        await seller.window.clearCookies({ name: /session/ });
        await seller.presses('List it, then add the file');
        await seller.arrives(/^\/sell\/[0-9a-f]{24}\/file/);

        // All of it is over: they sign in, and go on with what they typed.
        await seller.opens('/sell/new');
        await seller.fills('Title', title);
        await seller.fills('Description', 'Two lines,\n\nand <b>no</b> markup');
        await seller.fills('Price in dollars', '7.50');
        await seller.window.clearCookies();
        await seller.presses('List it, then add the file');
        await seller.reads('What you typed is kept');
        await seller.fills('E-mail address', seller.email);
        await seller.fills('Password', seller.password);
        await seller.presses('Sign in');
        await seller.page.getByLabel('Price in dollars').waitFor();
        assert.equal(await seller.page.getByLabel('Title').inputValue(), title);
        assert.equal((await seller.page.getByLabel('Description').inputValue()), 'Two lines,\n\nand <b>no</b> markup');
        assert.equal(await seller.page.getByLabel('Price in dollars').inputValue(), '7.50');
        await seller.presses('List it, then add the file');
        await seller.arrives(/^\/sell\/[0-9a-f]{24}\/file/);
        const stuff = await seller.api('GET', `/api/stuff/${seller.path().split('/')[2]}`);
        assert.equal(stuff.title, title);
        assert.equal(stuff.description.replaceAll('\r\n', '\n'), 'Two lines,\n\nand <b>no</b> markup');
        assert.equal(stuff.price, 750);
    });

    test(`a password is changed, other devices are signed out, and an account is erased, ${how}`, async () => {
        const student = await Student.signedUp({ js }, 'Old name');
        const other = await Student.at({ js });
        await other.api('POST', '/api/users/signin', { email: student.email, password: student.password });

        await student.opens('/account');
        await student.fills('Name', 'New name');
        await student.presses('Save');
        await student.opens('/account');
        assert.equal(await student.page.getByLabel('Name').inputValue(), 'New name');
        await student.opens('/account/sessions');
        await student.presses('Sign out everywhere else');
        await eventually(async () => {
            await student.opens('/account/sessions');
            return await student.page.getByRole('button', { name: 'Sign it out' }).count() === 0;
        }, 'one device is left');

        await student.opens('/account/password');
        await student.fills('The one you have', 'not this one');
        await student.fills('The new one', 'battery staple');
        await student.presses('Change it');
        await student.page.locator('.error, [role=alert]').first().waitFor();
        await student.fills('The one you have', student.password);
        await student.fills('The new one', 'battery staple');
        await student.presses('Change it');
        await eventually(async () => !await student.page.locator('[role=alert]').count(), 'it is changed');
        await student.opens('/account/erase');
        await student.fills('Your password', 'battery staple');
        await student.presses('Erase it for good');
        await eventually(async () => (await student.opens('/account')) && /^\/signin/.test(student.path()), 'the account is gone');
        await student.fills('E-mail address', student.email);
        await student.fills('Password', 'battery staple');
        await student.presses('Sign in');
        await student.page.getByRole('alert').waitFor();
    });
}

run();

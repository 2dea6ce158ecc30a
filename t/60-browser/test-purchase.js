// Students buy in browsers, with and without JavaScript: what they read, what they get, and what they are charged.
// SPDX-License-Identifier: MIT
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Student, dev, eventually, run, test } = require('./harness.js');

const HELD = 'The stuff is being checking out by someone else, please come back later';

// From a listing, through signing up at its form, back to that listing.
async function signsUp(student, stuff) {
    await student.opens(stuff.path);
    await student.follows('Sign in to BUY');
    await student.follows('Sign up');
    await student.fills('E-mail address', student.email);
    await student.fills('Password', student.password);
    await student.presses('Sign up');
    await student.arrives(/^\/stuff\//);
}

async function chooses(student, method) {
    await student.page.locator(`input[name=method][value="${method}"]`).check();
}

async function downloads(student, link) {
    const [download] = await Promise.all([student.page.waitForEvent('download'), link.click()]);
    return fs.readFileSync(await download.path());
}

// Of theirs only what card.js calls; their field is a frame that nobody but they can fill.
const STRIPE = `
const told = {};
window.Stripe = (key) => ({
    elements: () => ({ create: () => ({
        mount: (place) => { place.textContent = 'The field of ' + key; },
        on: (name, tell) => { told[name] = tell; tell({}); },
    }) }),
    createPaymentMethod: async () => {
        await new Promise((answer) => { setTimeout(answer); }); // never at once: it comes over the network
        if (!window.typed) return { error: { message: 'Your card number is incomplete.' } };
        return { paymentMethod: { id: window.typed } };
    },
});`;

test('with a key the card field is Stripe’s own, and says so when it can’t be had', async () => {
    const seller = await Student.signedUp();
    const stuff = await seller.lists('Lab reports', 800);
    const buyer = await Student.signedUp();
    const pay = () => buyer.presses('Pay $8.00');

    dev('restart', 'storefront', { STRIPE_PUBLISHABLE_KEY: 'pk_test_1' });
    try {
        await buyer.window.route('https://js.stripe.com/**', (route) => route.abort());
        await buyer.opens(stuff.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await buyer.reads('js.stripe.com, which can’t be reached');
        await pay();
        assert.match(buyer.path(), /^\/checkout\//, 'nothing is sent without a card');
        buyer.alarms = buyer.alarms.filter((alarm) => !/ERR_FAILED/.test(alarm));

        await buyer.window.unroute('https://js.stripe.com/**');
        await buyer.window.route('https://js.stripe.com/v3/', (route) => route.fulfill({ contentType: 'text/javascript', body: STRIPE }));
        await buyer.page.reload();
        await buyer.reads('The field of pk_test_1');
        await pay();
        await buyer.reads('Your card number is incomplete.');
        await buyer.page.evaluate(() => { window.typed = 'pm_card_chargeCustomerFail'; });
        await pay();
        await buyer.reads('declined');
        await buyer.opens(stuff.path);
        await eventually(async () => (await buyer.api('GET', `/api/stuff/${stuff.id}`)).status === 'available', 'it is free again');
        await buyer.page.reload();
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await buyer.page.evaluate(() => { window.typed = 'pm_card_visa'; });
        await pay();
        await buyer.arrives(/^\/orders\//);
        await buyer.reads('It is yours.');
    } finally {
        dev('restart', 'storefront');
    }
});

for (const js of [true, false]) {
    const how = js ? 'with JavaScript' : 'without JavaScript';

    test(`two students press BUY, one buys and downloads, ${how}`, async () => {
        const seller = await Student.signedUp({}, 'Mia');
        const stuff = await seller.lists(`Algebra notes ${how}`, 1250);
        const [ann, bob] = await Promise.all([Student.at({ js }), Student.at({ js })]);

        await signsUp(ann, stuff);
        await signsUp(bob, stuff);
        await Promise.all([ann, bob].map(async (student) => {
            await student.presses('BUY');
            await student.arrives(/^\/checkout\/|\/buy$/);
        }));
        const won = [ann, bob].filter((student) => student.path().startsWith('/checkout/'));
        assert.equal(won.length, 1, 'one of them has it');
        const [winner] = won, loser = winner === ann ? bob : ann;
        assert.equal((await loser.page.getByRole('alert').first().innerText()).trim(), HELD);

        // Who comes later sees it at the listing, before pressing anything.
        await loser.comesToRead(stuff.path, 'Being checked out');
        assert.equal(await loser.page.getByRole('button', { name: 'BUY', exact: true }).count(), 0);

        if (js) assert.match(await winner.page.getByRole('timer').innerText(), /^1[0-4]:[0-5]\d$/);
        await chooses(winner, 'pm_card_visa');
        await winner.presses('Pay $12.50');
        await winner.arrives(/^\/orders\//);
        await winner.reads('$12.50');
        await winner.reads('It is yours.');

        // The page of the loser, who did nothing, tells of it by itself; or when it is loaded again.
        if (js) await loser.reads('Sold');
        else await loser.comesToRead(stuff.path, 'Sold');

        await winner.opens('/library');
        assert.deepEqual(await downloads(winner, winner.page.getByRole('link', { name: /^Download/ }).first()), stuff.bytes);
        await winner.page.getByRole('link', { name: /^Receipt/ }).first().click();
        await winner.reads('$12.50');
        await loser.opens('/library');
        await loser.reads('Nothing here yet');
    });

    test(`a card is declined, and it is free again, ${how}`, async () => {
        const seller = await Student.signedUp();
        const stuff = await seller.lists(`Thesis template ${how}`, 500);
        const buyer = await Student.signedUp({ js });

        await buyer.opens(stuff.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await chooses(buyer, 'pm_card_chargeCustomerFail');
        await buyer.presses('Pay $5.00');
        await buyer.page.getByRole('alert').filter({ hasText: 'declined' }).waitFor();
        await buyer.reads('Nothing was charged');
        await eventually(async () => (await buyer.api('GET', `/api/stuff/${stuff.id}`)).status === 'available', 'it is free again');
        await buyer.opens(stuff.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
    });

    test(`a coupon for all of the price, one for some, and one that is none, ${how}`, async () => {
        const seller = await Student.signedUp();
        const stuff = await seller.lists(`Beats ${how}`, 1000);
        const other = await seller.lists(`More beats ${how}`, 1000);
        const admin = await Student.admin();
        const free = await admin.api('POST', '/api/coupons', { percentOff: 100 });
        const some = await admin.api('POST', '/api/coupons', { percentOff: 40 });
        const buyer = await Student.signedUp({ js });

        await buyer.opens(stuff.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await buyer.fills('Coupon', 'NO-SUCH-COUPON');
        await buyer.presses('Apply');
        await eventually(async () => await buyer.page.locator('#coupon-error').count(), 'the error is beside its field');
        assert.equal(await buyer.page.getByLabel('Coupon').inputValue(), 'NO-SUCH-COUPON', 'what was typed is kept');
        assert.equal(await buyer.page.getByLabel('Coupon').getAttribute('aria-invalid'), 'true');
        await buyer.fills('Coupon', free.code);
        await buyer.presses('Apply');
        await buyer.reads('100 % off');
        await buyer.presses('Get it for free');
        await buyer.arrives(/^\/orders\//);
        await buyer.reads('It is yours.');

        await buyer.opens(other.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        await buyer.fills('Coupon', some.code);
        await buyer.presses('Apply');
        await buyer.reads('$6.00');
        await chooses(buyer, 'pm_card_visa');
        await buyer.presses('Pay $6.00');
        await buyer.arrives(/^\/orders\//);
        await buyer.reads('It is yours.');
        await buyer.reads('$6.00');
    });

    test(`the time is over while the checkout is open, ${how}`, async () => {
        const seller = await Student.signedUp();
        const stuff = await seller.lists(`Exam papers ${how}`, 700);
        const buyer = await Student.signedUp({ js });

        dev('restart', 'orders', { EXPIRATION_WINDOW_SECONDS: '8' });
        try {
            await buyer.opens(stuff.path);
            await buyer.presses('BUY');
            await buyer.arrives(/^\/checkout\//);
            const order = buyer.path().split('/')[2];
            if (js) {
                await buyer.page.getByText('Your time is over').waitFor();
                assert.equal(await buyer.page.getByRole('button', { name: 'Pay $7.00' }).isDisabled(), true);
            }
            await eventually(async () => (await buyer.api('GET', `/api/orders/${order}`)).status === 'cancelled', 'the hold ends');
            if (js) await buyer.follows('See whether it is still free');
            else {
                await buyer.presses('Pay $7.00');
                await buyer.reads('Cancelled');
                await buyer.reads('Nothing was charged.');
                await buyer.follows('See whether it is still free');
            }
            await buyer.arrives(/^\/stuff\//);
            await buyer.page.getByRole('button', { name: 'BUY', exact: true }).waitFor();
            assert.deepEqual(await buyer.api('GET', `/api/payments/${order}`).catch((error) => error.status), 404);
        } finally {
            dev('restart', 'orders');
        }
    });

    test(`a buyer lets it go, ${how}`, async () => {
        const seller = await Student.signedUp();
        const stuff = await seller.lists(`Flash cards ${how}`, 300);
        const buyer = await Student.signedUp({ js });

        await buyer.opens(stuff.path);
        await buyer.presses('BUY');
        await buyer.arrives(/^\/checkout\//);
        // It is kept although its buyer looks around.
        await eventually(async () => (await buyer.api('GET', `/api/stuff/${stuff.id}`)).status === 'reserved', 'it is held');
        await buyer.opens(stuff.path);
        await buyer.follows('Go on to check out');
        await buyer.arrives(/^\/checkout\//);
        await buyer.presses('Let it go');
        await buyer.arrives(/^\/orders\//);
        await buyer.reads('Cancelled');
        await eventually(async () => (await buyer.api('GET', `/api/stuff/${stuff.id}`)).status === 'available', 'it is free again');
    });
}

// Presses Tab until what has the focus is called that, and sees that the focus shows.
async function tabsTo(page, name) {
    for (let i = 0; i < 80; i++) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(() => {
            const element = document.activeElement;
            const label = element.labels?.[0]?.innerText ?? element.innerText;
            const shown = [element, element.closest('.ticket')].some((e) => e && parseFloat(getComputedStyle(e).outlineWidth) >= 2);
            return { label: (label ?? '').trim(), value: element.type === 'radio' ? element.value : '', shown };
        });
        if (at.label && !at.shown) throw new Error(`the focus on "${at.label}" does not show`);
        if (at.label === name || at.value === name) return;
    }
    throw new Error(`the Tab key does not lead to "${name}"`);
}

test('the keyboard alone signs up, finds, buys and pays', async () => {
    const seller = await Student.signedUp();
    const stuff = await seller.lists('Keyboard concerto', 900);
    const buyer = await Student.at();
    const { page } = buyer;
    const { keyboard } = page;

    await buyer.opens('/');
    await keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.innerText), 'Skip to the content');
    await keyboard.press('Enter');
    await tabsTo(page, 'Search');
    await keyboard.type('Keyboard concerto');
    await keyboard.press('Enter');
    await buyer.arrives(/q=Keyboard/);
    await tabsTo(page, 'Keyboard concerto');
    await keyboard.press('Enter');
    await buyer.arrives(/^\/stuff\//);
    await tabsTo(page, 'Sign in to BUY');
    await keyboard.press('Enter');
    await buyer.arrives(/^\/signin/);
    await tabsTo(page, 'Sign up');
    await keyboard.press('Enter');
    await buyer.arrives(/^\/signup/);
    await tabsTo(page, 'E-mail address');
    await keyboard.type(buyer.email);
    await keyboard.press('Tab');
    await keyboard.type(buyer.password);
    await keyboard.press('Enter');
    await buyer.arrives(new RegExp(`^/stuff/.*${stuff.id}`));
    await tabsTo(page, 'BUY');
    await keyboard.press('Enter');
    await buyer.arrives(/^\/checkout\//);
    // Into the group of cards, and with the arrows to the one that pays.
    await tabsTo(page, await page.evaluate(() => document.querySelector('input[name=method]:checked, input[name=method]').value));
    for (let i = 0; i < 10; i++) {
        if (await page.evaluate(() => document.activeElement.value === 'pm_card_visa' && document.activeElement.checked)) break;
        await keyboard.press(i === 0 ? 'Space' : 'ArrowDown');
    }
    await tabsTo(page, 'Pay $9.00');
    await keyboard.press('Enter');
    await buyer.arrives(/^\/orders\//);
    await buyer.reads('It is yours.');
});

run();

// site.js: one of every page of the shop, with something on it.
// SPDX-License-Identifier: MIT
'use strict';

const { Student, eventually } = require('./harness.js');

const PAY = { token: 'pm_card_visa' };

async function buys(buyer, stuff) {
    return buyer.api('POST', '/api/orders', { stuffId: stuff.id });
}

async function pays(buyer, order) {
    await eventually(() => buyer.api('POST', '/api/payments', { orderId: order.id, ...PAY }).catch((error) => {
        if (error.status !== 404) throw error; // payments has not heard of the order yet
    }), 'it is paid');
    await eventually(async () => (await buyer.api('GET', `/api/orders/${order.id}`)).status === 'complete', 'the order is complete');
}

// Gives {visitor, student, admin} and pages, each {name, who, path, status}. text is in every field that a student can fill.
async function build(options = {}, text = '') {
    const visitor = await Student.at(options), fresh = await Student.signedUp(options);
    const seller = await Student.signedUp(options, `Mia ${text}`), buyer = await Student.signedUp(options, `Bob ${text}`);
    const admin = await Student.admin(options);
    const said = `Eighty pages.\n\nWith proofs, ${text}`;
    const listed = [];
    for (const [title, price] of [['Algebra notes', 1250], ['Beats to study by', 400], ['Thesis template', 900], ['Flash cards', 0]])
        listed.push(await seller.lists(`${title} ${text}`.trim(), price, said));
    const [free, held, sold, cancelled] = listed;
    const removed = await seller.lists('Gone again', 100);
    await seller.api('DELETE', `/api/stuff/${removed.id}`);
    const bare = await seller.api('POST', '/api/stuff', { title: `Without a file ${text}`, description: '', price: 500 });
    const paid = await buys(buyer, sold);
    await pays(buyer, paid);
    const lapsed = await buys(buyer, cancelled);
    await buyer.api('DELETE', `/api/orders/${lapsed.id}`);
    const open = await buys(buyer, held);
    await admin.api('POST', '/api/coupons', { percentOff: 50, count: 2 });
    await eventually(async () => (await buyer.api('GET', `/api/stuff/${held.id}`)).status === 'reserved', 'it is reserved');

    const page = (name, who, where, status = 200) => ({ name, who, path: where, status });
    const pages = [
        page('home', visitor, '/'),
        page('home-found', buyer, '/?q=algebra&minPrice=1&maxPrice=20&sort=price'),
        page('home-empty', visitor, '/?q=there-is-nothing-like-this'),
        page('home-refused', visitor, '/?minPrice=cheap', 400),
        page('listing', visitor, free.path),
        page('listing-buy', buyer, free.path),
        page('listing-held', visitor, held.path),
        page('listing-mine', buyer, held.path),
        page('listing-sold', visitor, sold.path),
        page('listing-bought', buyer, sold.path),
        page('listing-own', seller, free.path),
        page('checkout', buyer, `/checkout/${open.id}`),
        page('orders', buyer, '/orders'),
        page('orders-empty', fresh, '/orders'),
        page('order-paid', buyer, `/orders/${paid.id}`),
        page('order-cancelled', buyer, `/orders/${lapsed.id}`),
        page('order-open', buyer, `/orders/${open.id}`),
        page('receipt', buyer, `/orders/${paid.id}/receipt`),
        page('library', buyer, '/library'),
        page('library-empty', fresh, '/library'),
        page('sell', seller, '/sell'),
        page('sell-sold', seller, '/sell?status=sold'),
        page('sell-empty', fresh, '/sell'),
        page('sell-new', seller, '/sell/new'),
        page('sell-change', seller, `/sell/${free.id}`),
        page('sell-locked', seller, `/sell/${held.id}`),
        page('upload', seller, `/sell/${bare.id}/file`),
        page('upload-again', seller, `/sell/${free.id}/file`),
        page('picture', seller, `/sell/${free.id}/picture`),
        page('sales', seller, '/sell/sales'),
        page('sales-empty', fresh, '/sell/sales'),
        page('signup', visitor, '/signup'),
        page('signin', visitor, '/signin'),
        page('account', buyer, '/account'),
        page('password', buyer, '/account/password'),
        page('sessions', buyer, '/account/sessions'),
        page('erase', buyer, '/account/erase'),
        page('coupons', admin, '/admin/coupons'),
        page('users', admin, '/admin/users'),
        page('users-none', admin, '/admin/users?q=nobody-is-called-this'),
        page('listings', admin, '/admin/listings'),
        page('help', visitor, '/help'),
        page('403', buyer, '/admin/users', 403),
        page('404', visitor, '/there-is-no-such-page', 404),
        page('410', visitor, removed.path, 410),
    ];
    return { visitor, fresh, seller, buyer, admin, pages, free, held, sold, open };
}

module.exports = { build };

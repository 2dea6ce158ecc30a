/* server.js: some routes of auth and stuff by Express 5, as well tuned as that goes, to compare the services with.
 * SPDX-License-Identifier: MIT
 *
 * No part of the marketplace. The same paths, checks, documents and answers, a record of an event in the same write, a line in the log;
 * but nothing that publishes events, no metrics, no traces, no bans and no limits to guessing. PROCESSES > 1: as a cluster.
 */
'use strict';

const cluster = require('node:cluster');
const { createSecretKey, randomBytes } = require('node:crypto');
const fs = require('node:fs');

const { SOCKET, MONGO_URI, JWT_KEY, EMAIL, PASSWORD } = process.env;
const processes = Number(process.env.PROCESSES);

if (processes > 1 && cluster.isPrimary) {
    for (let i = 0; i < processes; i++) cluster.fork();
    process.on('SIGTERM', () => {
        for (const worker of Object.values(cluster.workers)) worker.process.kill();
        process.exit();
    });
} else {
    serve();
}

async function serve() {
    const express = require('express');
    const jwt = require('jsonwebtoken');
    const mongoose = require('mongoose');
    const pino = require('pino');
    const { argon2id, argon2Verify } = require('hash-wasm');

    const key = createSecretKey(Buffer.from(JWT_KEY)); // made once: jsonwebtoken would do so each time
    const algorithms = ['HS256'];

    const text = { type: String, required: true };
    const schema = new mongoose.Schema({
        rev: Number, version: Number, title: text, description: String, price: Number, currency: String,
        userId: mongoose.Types.ObjectId, orderId: mongoose.Types.ObjectId, status: text, file: Object, hidden: String,
        createdAt: Date, outbox: { type: [Object], default: undefined },
    }, { versionKey: false, autoIndex: false, collection: 'stuff' });
    const options = { maxPoolSize: 16, w: 'majority', journal: true };
    const listed = await mongoose.createConnection(`${MONGO_URI}/stuff`, options).asPromise(); // what stuff wrote
    const own = await mongoose.createConnection(`${MONGO_URI}/express`, options).asPromise();
    const Listing = listed.model('Listing', schema);
    const Created = own.model('Created', schema);
    const Account = own.model('Account', new mongoose.Schema({ email: text, hash: text }, { versionKey: false }));

    const show = (s) => ({
        id: s._id, version: s.version, title: s.title, description: s.description, price: s.price, currency: s.currency,
        userId: s.userId, orderId: s.orderId ?? null, status: s.status, file: s.file ?? null, createdAt: s.createdAt,
    });
    const fail = (res, status, errors) => res.status(status).json({ errors });

    // Who is calling, or null.
    function caller(req) {
        const found = /(?:^|; )__Host-session=([^;]*)/.exec(req.headers.cookie ?? '');
        try {
            return found && jwt.verify(found[1], key, { algorithms });
        } catch {
            return null;
        }
    }

    const log = pino({ base: { service: 'express' } }, pino.destination({ dest: 2, sync: false, minLength: 4096 })); // its fastest way

    const app = express();
    app.disable('x-powered-by');
    app.set('etag', false); // a hash of each body; ours is the record's version
    app.set('query parser', 'simple');
    const json = express.json({ limit: '64kb' });

    app.use((req, res, next) => {
        const began = performance.now();
        res.on('finish', () => log.info({ request: req.headers['x-request-id'], method: req.method, path: req.path,
            status: res.statusCode, ms: Math.round(performance.now() - began) }, 'request'));
        next();
    });

    app.get('/readyz', (req, res) => res.json({ status: 'ready' }));

    app.get('/api/users/currentuser', (req, res) => {
        const user = caller(req);
        res.json({ currentUser: user && { id: user.sub, email: user.email, role: user.role } });
    });

    app.post('/api/users/signin', json, async (req, res) => {
        const { email, password } = req.body ?? {};
        if (typeof email !== 'string' || typeof password !== 'string') {
            return fail(res, 400, [{ message: 'Bad Email', field: 'email' }]);
        }
        const account = await Account.findOne({ email }).lean();
        if (!account || !await argon2Verify({ password, hash: account.hash })) {
            return fail(res, 400, [{ message: 'Invalid credentials' }]);
        }
        const token = jwt.sign({ email, role: 'user' }, key, { algorithm: 'HS256', subject: String(account._id), expiresIn: 900 });
        res.cookie('__Host-session', token, { httpOnly: true, secure: true, sameSite: 'lax', maxAge: 900000 });
        res.json({ id: account._id, email, role: 'user' });
    });

    app.get('/api/stuff', async (req, res) => {
        const found = await Listing.find({ status: { $in: ['available', 'reserved'] }, hidden: { $exists: false } })
            .sort({ _id: -1 }).limit(21).lean();
        if (found.length > 20) res.set('Link', `</api/stuff?cursor=${found[19]._id}>; rel="next"`);
        res.json(found.slice(0, 20).map(show));
    });

    app.get('/api/stuff/:id', async (req, res) => {
        const { id } = req.params;
        const found = /^[0-9a-f]{24}$/.test(id) && await Listing.findById(id).lean();
        if (!found || found.status === 'removed' || found.hidden) return fail(res, 404, [{ message: 'Not Found' }]);
        res.set('ETag', `"${found.version}"`).json(show(found));
    });

    app.post('/api/stuff', json, async (req, res) => {
        const user = caller(req);
        if (!user) return fail(res, 401, [{ message: 'Not authorized' }]);
        const { title, description = '', price } = req.body ?? {};
        const errors = [];
        if (typeof title !== 'string' || !title.trim() || title.length > 120) {
            errors.push({ message: 'Title must have 1 to 120 characters', field: 'title' });
        }
        if (typeof description !== 'string' || description.length > 10000) {
            errors.push({ message: 'Description must have at most 10000 characters', field: 'description' });
        }
        if (!Number.isInteger(price) || price < 0 || price > 10000000 || (price > 0 && price < 50)) {
            errors.push({ message: 'Price must be 0, or 50 to 10000000 cents', field: 'price' });
        }
        if (errors.length) return fail(res, 400, errors);
        const _id = new mongoose.Types.ObjectId();
        const s = { _id, rev: 1, version: 1, title: title.trim(), description, price, currency: 'usd', userId: user.sub,
            status: 'available', createdAt: new Date() };
        const id = `stuff:${_id}:1`;
        s.outbox = [{ id, channel: 'stuff:created', body: JSON.stringify({ id, type: 'stuff:created', subject: _id, version: 1,
            time: s.createdAt, data: { id: _id, title: s.title, price, userId: user.sub, orderId: null, status: s.status, file: null } }) }];
        await Created.create(s);
        res.status(201).set('Location', `/api/stuff/${_id}`).json(show(s));
    });

    // OWASP's first choice for argon2id, as auth's.
    await Account.deleteMany({ email: EMAIL });
    await Account.create({ email: EMAIL, hash: await argon2id({ password: PASSWORD, salt: randomBytes(16), parallelism: 1, iterations: 2,
        memorySize: 19456, hashLength: 32, outputType: 'encoded' }) });
    if (!cluster.isWorker) fs.rmSync(SOCKET, { force: true });
    app.listen(SOCKET, () => fs.chmodSync(SOCKET, 0o660));
}

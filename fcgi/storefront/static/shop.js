/* shop.js: what is nicer with JavaScript. Every page works without it.
 * SPDX-License-Identifier: MIT */
'use strict';

const all = (what, inside = document) => [...inside.querySelectorAll(what)];
const one = (what, inside = document) => inside.querySelector(what);
const show = (element, is = true) => { if (element) element.hidden = !is; };

/* Tells who listens to the page instead of looking at it. */
const say = (text) => {
	const place = one('[data-said]');
	if (place && place.textContent !== text) place.textContent = text;
};

/* --- the clock of a hold --------------------------------------------------
 * The server says how many seconds are left, so a wrong clock here does no
 * harm; and the end is an instant, so a computer that slept knows it too. */

const clocks = () => {
	for (const clock of all('[data-countdown]')) {
		const end = Date.now() + Number(clock.dataset.countdown) * 1000;
		const tick = () => {
			const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
			const minutes = Math.floor(left / 60);
			clock.textContent = `${minutes}:${String(left % 60).padStart(2, '0')}`;
			clock.classList.toggle('late', left <= 60);
			show(clock);
			if (clock.getAttribute('role') === 'timer' && left > 0) {
				if (left <= 60) say('Less than a minute left');
				else if (left <= 300) say('Less than five minutes left');
			}
			if (left > 0) return;
			clearInterval(timer);
			over();
		};
		const timer = setInterval(tick, 250);
		tick();
	}
};

const over = () => {
	show(one('[data-over]'));
	for (const form of all('form[data-until-over]'))
		for (const control of form.elements) control.disabled = true;
};

/* --- a listing as it is now ------------------------------------------------
 * Asks for its state while someone looks; when it has changed, the server's
 * own page has what to show. */

const POLL = 5000;

const live = () => {
	const box = one('[data-live]');
	if (!box) return;
	let asking = false;
	const look = async () => {
		if (asking || document.hidden) return;
		asking = true;
		try {
			const answer = await fetch(box.dataset.live);
			const status = answer.ok ? (await answer.json()).status
				: [404, 410].includes(answer.status) ? 'removed' : box.dataset.status;
			if (status !== box.dataset.status) await renew(box);
		} catch { /* away for now: what is shown was true when it came */ }
		asking = false;
	};
	setInterval(look, POLL);
	document.addEventListener('visibilitychange', look);
};

const renew = async (box) => {
	const answer = await fetch(location.href, { cache: 'no-store' });
	const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
	const now = one('[data-live]', page);
	if (!now) return location.reload();
	const had = box.contains(document.activeElement);
	box.replaceChildren(...now.childNodes);
	box.dataset.status = now.dataset.status;
	if (had) one('a, button', box)?.focus();
	say(one('.state', box)?.textContent ?? '');
};

/* --- an upload and how far it is ------------------------------------------- */

const uploads = () => {
	for (const form of all('form[data-upload]')) {
		const input = one('[type=file]', form);
		const problem = one('[data-file-error]', form);
		const refuse = (text) => {
			problem.textContent = text;
			show(problem, text);
			if (text) input.setAttribute('aria-invalid', 'true');
			else input.removeAttribute('aria-invalid');
		};
		const fits = () => {
			const large = input.files[0]?.size > Number(form.dataset.max);
			refuse(large ? 'That file is too large' : '');
			return !large;
		};
		input.addEventListener('change', fits);
		form.addEventListener('submit', (event) => {
			event.preventDefault();
			if (fits()) send(form, refuse);
			else input.focus();
		});
	}
};

const send = (form, refuse) => {
	const bar = one('progress', form), told = one('output', form);
	const button = one('button', form);
	const request = new XMLHttpRequest();
	const done = () => { button.disabled = false; show(one('[data-progress]', form), false); };

	request.upload.addEventListener('progress', (event) => {
		const percent = Math.floor(100 * event.loaded / event.total);
		bar.value = percent;
		told.textContent = `${percent} %`;
	});
	request.addEventListener('error', () => {
		done();
		refuse('The upload broke off. Try again');
	});
	request.addEventListener('load', () => {
		if (request.status < 400) return location.assign(request.responseURL);
		done();
		const page = new DOMParser().parseFromString(request.responseText, 'text/html');
		const why = one('[data-file-error]', page)?.textContent.trim()
			|| one('[role=alert]', page)?.textContent.trim();
		refuse(why || 'That did not work. Try again');
		input_of(form).focus();
	});
	button.disabled = true;
	show(one('[data-progress]', form));
	request.open('POST', form.action);
	request.send(new FormData(form));
};

const input_of = (form) => one('[type=file]', form);

/* --- small things ------------------------------------------------------------ */

/* A second press of a button that takes money does nothing; the server would
 * do nothing either. */
const once = () => {
	for (const form of all('form[data-once]')) {
		form.addEventListener('submit', (event) => {
			if (form.dataset.sent) event.preventDefault();
			form.dataset.sent = '1';
		});
		addEventListener('pageshow', () => { delete form.dataset.sent; });
	}
};

const buttons = () => {
	for (const button of all('[data-copy]')) {
		show(button);
		button.addEventListener('click', async () => {
			const from = document.getElementById(button.dataset.copy);
			from.select();
			await navigator.clipboard.writeText(from.value);
			one('[data-copied]').textContent = 'Copied';
		});
	}
	for (const button of all('[data-print]')) {
		show(button);
		button.addEventListener('click', () => print());
	}
};

clocks();
live();
uploads();
once();
buttons();
/* After a refused form one stands where something is to be mended. */
one('[aria-invalid]')?.focus();

/* card.js: Stripe's own card field, at the checkout of a shop with a real key.
 * The number goes to Stripe; what comes here is a payment method's id.
 * SPDX-License-Identifier: MIT */
'use strict';

const place = document.querySelector('[data-stripe-key]');
const problem = document.querySelector('[data-card-error]');
const form = place.closest('form');
const colour = (name) => getComputedStyle(form).getPropertyValue(name).trim();

const tell = (text) => {
	problem.textContent = text;
	problem.hidden = !text;
};

/* A blocker, or no way to Stripe: there is no script of theirs then. */
let stripe, card;
if (window.Stripe) {
	stripe = Stripe(place.dataset.stripeKey);
	card = stripe.elements().create('card', {
		style: { base: { fontSize: '16px', color: colour('--ink'), '::placeholder': { color: colour('--soft') } } },
	});
	card.mount(place);
	card.on('change', (event) => tell(event.error?.message ?? ''));
} else tell('The card field comes from js.stripe.com, which can’t be reached. Is it blocked?');

/* Before shop.js hears of it: what is not sent yet may be sent again. */
form.addEventListener('submit', async (event) => {
	if (event.submitter?.value !== 'pay' || form.elements.method.value) return;
	event.preventDefault();
	event.stopImmediatePropagation();
	if (!stripe) return place.scrollIntoView();
	event.submitter.disabled = true;
	const { paymentMethod, error } = await stripe.createPaymentMethod({ type: 'card', card });
	event.submitter.disabled = false;
	if (error) return tell(error.message);
	form.elements.method.value = paymentMethod.id;
	form.requestSubmit(event.submitter);
}, { capture: true });

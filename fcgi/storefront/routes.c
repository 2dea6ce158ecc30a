/* routes.c: what the storefront answers.
 * SPDX-License-Identifier: MIT */
#include "routes.h"

#include "pages.h"

/* Who may see a page is said by its handler: an access token that has run out
 * is refreshed first. */
#define FORM(path, handler)                                                  \
	{                                                                    \
		POST, path, handler, .raw_max = FORM_MAX_BYTES, .form = true \
	}

const struct route storefront_routes[] = {
	{GET, "/", shop_home},
	{GET, "/stuff/:slug", shop_listing},
	FORM("/stuff/:id/buy", shop_buy),

	{GET, "/checkout/:id", checkout_show},
	FORM("/checkout/:id", checkout_pay),
	FORM("/checkout/:id/cancel", checkout_cancel),
	{GET, "/orders", orders_list},
	{GET, "/orders/:id", orders_show},
	{GET, "/orders/:id/receipt", orders_receipt},
	{GET, "/library", orders_library},
	{GET, "/download/:id", orders_download},

	{GET, "/sell", sell_list},
	{GET, "/sell/new", sell_new},
	FORM("/sell/new", sell_create),
	{GET, "/sell/sales", sell_sales},
	{GET, "/sell/:id", sell_edit},
	FORM("/sell/:id", sell_save),
	FORM("/sell/:id/remove", sell_remove),
	FORM("/sell/:id/refund", sell_refund),
	{GET, "/sell/:id/file", upload_show},
	{POST, "/sell/:id/file", upload_take, .stream = UPLOAD},
	{GET, "/sell/:id/picture", upload_show_picture},
	{POST, "/sell/:id/picture", upload_take_picture, .stream = UPLOAD},

	{GET, "/signup", entry_show_signup},
	FORM("/signup", entry_sign_up),
	{GET, "/signin", entry_show_signin},
	FORM("/signin", entry_sign_in),
	FORM("/signout", entry_sign_out),
	{GET, "/account", account_show},
	FORM("/account", account_save_name),
	{GET, "/account/password", account_show_password},
	FORM("/account/password", account_save_password),
	{GET, "/account/sessions", account_sessions},
	FORM("/account/sessions/end-others", account_end_others),
	FORM("/account/sessions/:id/end", account_end_session),
	{GET, "/account/export", account_export},
	{GET, "/account/erase", account_show_erase},
	FORM("/account/erase", account_erase),

	{GET, "/admin/coupons", admin_coupons},
	FORM("/admin/coupons", admin_make_coupons),
	FORM("/admin/coupons/delete", admin_delete_coupon),
	{GET, "/admin/users", admin_users},
	FORM("/admin/users/:id/ban", admin_ban),
	FORM("/admin/users/:id/unban", admin_unban),
	{GET, "/admin/listings", admin_listings},
	FORM("/admin/listings/:id/remove", admin_remove),

	{GET, "/help", site_help},
	{GET, "/robots.txt", site_robots},
	{GET, "/sitemap.xml", site_sitemap},
	{GET, "/sitemap/:slug", site_sitemap_part},
	{0},
};

/* pages.h: the pages, which routes.c puts together.
 * SPDX-License-Identifier: MIT */
#ifndef STOREFRONT_PAGES_H
#define STOREFRONT_PAGES_H

#include "http.h"
#include "view.h"

#define PAGE(name) const struct fail *name(struct request *rq)

/* Settings. */
extern const char *pages_stripe_key; /* "": cards are the gateway's test ones */
extern int64_t pages_window, pages_file_max;

/* shop.c */
PAGE(shop_home);
PAGE(shop_listing);
PAGE(shop_buy);

/* checkout.c */
PAGE(checkout_show);
PAGE(checkout_pay);
PAGE(checkout_cancel);

/* orders.c */
PAGE(orders_list);
PAGE(orders_show);
PAGE(orders_receipt);
PAGE(orders_library);
PAGE(orders_download);
bool orders_open(json_object *order); /* may it still be paid? */

/* sell.c */
PAGE(sell_list);
PAGE(sell_new);
PAGE(sell_create);
PAGE(sell_edit);
PAGE(sell_save);
PAGE(sell_remove);
PAGE(sell_refund);
PAGE(sell_sales);

/* upload.c */
PAGE(upload_show);
PAGE(upload_take);
PAGE(upload_show_picture);
PAGE(upload_take_picture);

/* entry.c */
PAGE(entry_show_signup);
PAGE(entry_sign_up);
PAGE(entry_show_signin);
PAGE(entry_sign_in);
PAGE(entry_sign_out);

/* account.c */
PAGE(account_show);
PAGE(account_save_name);
PAGE(account_show_password);
PAGE(account_save_password);
PAGE(account_sessions);
PAGE(account_end_session);
PAGE(account_end_others);
PAGE(account_export);
PAGE(account_show_erase);
PAGE(account_erase);

/* admin.c */
PAGE(admin_coupons);
PAGE(admin_make_coupons);
PAGE(admin_delete_coupon);
PAGE(admin_users);
PAGE(admin_ban);
PAGE(admin_unban);
PAGE(admin_listings);
PAGE(admin_remove);

/* site.c */
#define SITE_MARK                                                   \
	1000 /* listings in one part of the sitemap, as stuff marks \
	      */
PAGE(site_help);
PAGE(site_robots);
PAGE(site_sitemap);
PAGE(site_sitemap_part);

#endif

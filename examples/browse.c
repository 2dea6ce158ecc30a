/* browse.c: a client in C: prints what is for sale, page by page.
 *
 *	cc -o browse browse.c $(pkg-config --cflags --libs libcurl json-c)
 *	./browse https://localhost:8443 [TEXT]
 *
 * CA_CERT names the certificate of a site that no browser knows.
 * SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* An answer: its body, and where the next page is ("": there is none). */
struct page {
	struct json_tokener *parser;
	json_object *list;
	char next[2048];
};

/* libcurl hands over the body as it comes. */
static size_t
on_body(char *bytes, size_t size, size_t n, void *closure)
{
	struct page *page = closure;

	if (page->list == NULL)
		page->list = json_tokener_parse_ex(page->parser, bytes,
						   (int)(size * n));
	return size * n;
}

/* Link: </api/stuff?limit=20&cursor=…>; rel="next" */
static size_t
on_header(char *bytes, size_t size, size_t n, void *closure)
{
	struct page *page = closure;
	char line[2048], *end;

	if (size * n < sizeof(line)) {
		memcpy(line, bytes, size * n);
		line[size * n] = '\0';
		if (strncasecmp(line, "Link: <", 7) == 0 &&
		    (end = strstr(line, ">; rel=\"next\"")) != NULL) {
			*end = '\0';
			strcpy(page->next, line + 7);
		}
	}
	return size * n;
}

/* Fills the page; false, after a word on why, when there is none. */
static int
get(CURL *curl, const char *url, struct page *page)
{
	char error[CURL_ERROR_SIZE] = "";
	long status = 0;

	*page = (struct page){.parser = json_tokener_new()};
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("CA_CERT"));
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, page);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, page);
	if (curl_easy_perform(curl) != CURLE_OK)
		fprintf(stderr, "%s: %s\n", url, error);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	json_tokener_free(page->parser);
	if (status != 200 && status != 0) /* {"errors":[{"message":"…"}]} */
		fprintf(stderr, "%s: %ld %s\n", url, status,
			json_object_to_json_string(page->list));
	return status == 200 &&
	       json_object_is_type(page->list, json_type_array);
}

static const char *
text(json_object *o, const char *name)
{
	return json_object_get_string(json_object_object_get(o, name));
}

int
main(int argc, char **argv)
{
	char url[8192], *what;
	struct page page;
	int ok;
	CURL *curl;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: browse URL [TEXT]\n");
		return 64;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	curl = curl_easy_init();
	if (curl == NULL)
		return 71;
	what = curl_easy_escape(curl, argc == 3 ? argv[2] : "", 0);
	snprintf(url, sizeof(url), "%s/api/stuff?limit=50&q=%s", argv[1], what);
	do {
		ok = get(curl, url, &page);
		for (size_t i = 0;
		     ok && i < json_object_array_length(page.list); i++) {
			json_object *o =
				json_object_array_get_idx(page.list, i);
			long long price = json_object_get_int64(
				json_object_object_get(o, "price"));

			printf("%s %7lld.%02lld %s\n", text(o, "id"),
			       price / 100, price % 100, text(o, "title"));
		}
		json_object_put(page.list);
		snprintf(url, sizeof(url), "%s%s", argv[1], page.next);
	} while (ok && *page.next != '\0');
	curl_free(what);
	curl_easy_cleanup(curl);
	curl_global_cleanup();
	return ok ? 0 : 1;
}

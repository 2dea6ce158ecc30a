#!/usr/bin/env bash
# purchase.sh: the API with nothing but curl and jq, step by step: one student sells, another buys, pays, and downloads.
#
#   eval "$(./dev env)"; BASE_URL=$BASE_URL CA_CERT=$CA_CERT examples/purchase.sh
#
# CA_CERT is the certificate of a site that no browser knows; leave it out for any other. `pm_card_visa` is a test card.
# SPDX-License-Identifier: MIT
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# as STUDENT METHOD PATH [JSON]: asks with the student's cookies, keeps those that come, prints the answer, fails with it.
as() {
    local -a body=()
    [[ ! ${4-} ]] || body=(-H 'Content-Type: application/json' -d "$4")
    curl -sS --fail-with-body ${CA_CERT:+--cacert "$CA_CERT"} -b "$folder/$1" -c "$folder/$1" -X "$2" "${body[@]}" "$BASE_URL$3"
}

# eventually TEXT COMMAND...: asks again until the answer has the text; services tell each other within milliseconds.
eventually() {
    local text=$1 tries
    shift
    for ((tries = 0; tries < 100; tries++)); do
        if [[ $("$@") == *"$text"* ]]; then return; fi
        sleep 0.1
    done
    echo "never $text: $*" >&2
    return 1
}

# 1. Two students sign up. The cookie is the session; it lasts for 15 minutes, and POST /api/users/refresh brings the next.
unique=$(date +%s%N)
as ann POST /api/users/signup "{\"email\":\"ann$unique@example.edu\",\"password\":\"correct horse\"}" | jq .
as bob POST /api/users/signup "{\"email\":\"bob$unique@example.edu\",\"password\":\"battery staple\"}" | jq .

# 2. Ann lists her notes, for 12.50 dollars, and uploads them.
stuff=$(as ann POST /api/stuff '{"title":"Algebra notes","price":1250}' | jq -r .id)
echo "x = (-b ± √(b² - 4ac)) / 2a" >"$folder/notes.txt"
curl -sS --fail-with-body ${CA_CERT:+--cacert "$CA_CERT"} -b "$folder/ann" -T "$folder/notes.txt" -H 'Content-Type: text/plain' \
    -H 'Content-Disposition: attachment; filename="notes.txt"' "$BASE_URL/api/stuff/$stuff/file" | jq .

# 3. Bob finds them and clicks BUY. They are his for 15 minutes; until stuff has told orders of the file, there is nothing to buy.
as bob GET "/api/stuff?q=algebra&limit=5" | jq -r '.[] | "\(.price) \(.title)"'
eventually '"id"' as bob POST /api/orders "{\"stuffId\":\"$stuff\"}" 2>/dev/null
order=$(as bob POST /api/orders "{\"stuffId\":\"$stuff\"}" | jq -r .id)

# 4. He pays. An Idempotency-Key makes it safe to ask again when the answer got lost; asked by the order alone, it is too.
as bob POST /api/payments "{\"orderId\":\"$order\",\"token\":\"pm_card_visa\"}" | jq '{status, amount}'
eventually '"complete"' as bob GET "/api/orders/$order"

# 5. The file is his.
eventually '"sold"' as bob GET "/api/stuff/$stuff"
as bob GET "/api/stuff/$stuff/file" | cmp - "$folder/notes.txt"
as bob GET "/api/payments/$order/receipt" | jq '{number, amount, status}'
echo "Bob has bought $stuff by order $order."

#!/usr/bin/env bash
# api.sh: /api/openapi.json is valid; and schemathesis asks the services through nginx what it says that they answer, and finds no
# other status, no other shape, no 5xx, and nothing accepted that is described as bad. `./dev check api` runs it; by hand: DEV_STATE and
# DEV_TOOLS of a stack that is up, with the gateway t/gateway.py. Its time is bounded, and its seed fixed.
# SPDX-License-Identifier: MIT
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
seconds=${API_SECONDS:-35}
eval "$("$top/dev" env)"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# ask JAR METHOD PATH BODY: prints the answer.
ask() {
    curl -fsS --cacert "$CA_CERT" -b "$folder/$1" -c "$folder/$1" -X "$2" -H 'Content-Type: application/json' \
        ${4:+-d "$4"} "$BASE_URL$3"
}

# until_is TEXT COMMAND...: asks again until the answer has the text.
until_is() {
    local end=$((SECONDS + 20))
    until [[ $("${@:2}" 2>/dev/null) == *"$1"* ]]; do
        ((SECONDS < end)) || { echo "never $1: ${*:2}" >&2 && return 1; }
        sleep 0.1
    done
}

# list JAR: lists something with a file, and prints its id.
list() {
    local id
    id=$(ask "$1" POST /api/stuff '{"title":"Notes","price":700}' | jq -r .id)
    curl -fsS --cacert "$CA_CERT" -b "$folder/$1" -X PUT -d notes -H 'Content-Type: text/plain' \
        -H 'Content-Disposition: attachment; filename="notes.txt"' "$BASE_URL/api/stuff/$id/file" >"$folder/file"
    echo "$id"
}

# It is what it says to be: OpenAPI 3.1. And something else would not be.
valid() { "$DEV_TOOLS/schemathesis/bin/openapi-spec-validator" --schema 3.1 "$1"; }
curl -fsS --cacert "$CA_CERT" "$BASE_URL/api/openapi.json" >"$folder/openapi.json"
valid "$folder/openapi.json"
jq '.paths["/api/orders"].post.responses = []' "$folder/openapi.json" >"$folder/broken.json"
if valid "$folder/broken.json" >"$folder/log"; then
    echo 'the validator finds nothing wrong with what is wrong' >&2
    exit 1
fi

# An admin may do the most; with things of their own to do it to.
mail=$RANDOM$RANDOM@example.edu
ask admin POST /api/users/signup "{\"email\":\"admin$mail\",\"password\":\"correct horse\"}" >"$folder/me"
ask seller POST /api/users/signup "{\"email\":\"seller$mail\",\"password\":\"correct horse\"}" >"$folder/other"
"$top/dev" run auth --make-admin "admin$mail" 2>"$folder/log"
ask admin POST /api/users/refresh '' >"$folder/me"
token=$(awk '$6 == "__Host-session" { print $7 }' "$folder/admin")
own=$(list admin) bought=$(list seller)
until_is '"id"' ask admin POST /api/orders "{\"stuffId\":\"$bought\"}"
order=$(ask admin POST /api/orders "{\"stuffId\":\"$bought\"}" | jq -r .id)
until_is '"id"' ask admin POST /api/payments "{\"orderId\":\"$order\",\"token\":\"pm_card_visa\"}"
until_is '"sold"' ask admin GET "/api/stuff/$bought" ''

operation() { printf '[[operations]]\ninclude-name = "%s %s"\nparameters = { "path.id" = "%s" }\n' "$2" "$1" "$3"; }
{
    operation '/api/stuff/{id}' GET "$own"
    operation '/api/stuff/{id}' PUT "$own"
    operation '/api/stuff/{id}/file' GET "$bought"
    operation '/api/stuff/{id}/file' PUT "$own"
    operation '/api/stuff/{id}/file/link' POST "$bought"
    operation '/api/orders/{id}' GET "$order"
    operation '/api/orders/{id}' DELETE "$order"
    operation '/api/payments/{id}' GET "$order"
    operation '/api/payments/{id}/receipt' GET "$order"
    operation '/api/payments/{id}/refund' POST "$order"
    operation '/api/users/{id}/unban' POST "$(jq -r .id "$folder/other")"
} >"$folder/schemathesis.toml"

# ignored_auth takes a bad cookie beside a good token for a bad sign-in; positive_data_acceptance that a listing is not there for a refusal
# of what is described; ensure_resource_availability that a new listing has no picture for one that is lost.
declare -A pid=()
for tag in auth stuff orders payments; do
    (
        cd "$folder"
        exec timeout $((seconds * 3)) "$DEV_TOOLS/schemathesis/bin/schemathesis" --no-color --config-file schemathesis.toml \
            run "$BASE_URL/api/openapi.json" --tls-verify "$CA_CERT" -H "Authorization: Bearer $token" --include-tag "$tag" \
            --workers 1 --max-time "$seconds" --seed 1 --continue-on-failure --generation-database none --warnings off \
            --checks all --exclude-checks ignored_auth,positive_data_acceptance,ensure_resource_availability
    ) >"$folder/$tag.log" 2>&1 &
    pid[$tag]=$!
done
failed=0
for tag in "${!pid[@]}"; do
    if wait "${pid[$tag]}"; then
        echo "$tag: $(grep -A1 '^Test cases' "$folder/$tag.log" | tail -n 1)"
    else
        echo "$tag fails:"
        cat "$folder/$tag.log"
        failed=1
    fi
done
exit "$failed"

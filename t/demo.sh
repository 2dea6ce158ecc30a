#!/usr/bin/env bash
# demo.sh: sells something through HTTPS, in front of the reader's eyes. Started by `./dev demo`; needs a stack that is up, and to know
# about it no more than `./dev env` prints. Ends with 1 at the first thing that is not as it should be.
# SPDX-License-Identifier: MIT
set -euo pipefail

dev=$(cd "$(dirname "$0")/.." && pwd)/dev
settings=$("$dev" env)
eval "$settings"
: "${BASE_URL:?}" "${CA_CERT:?}" "${RUN_DIR:?}"
held="The stuff is being checking out by someone else, please come back later"
work=$(mktemp -d)
short_window=''

finish() {
    local rc=$?
    if [[ $short_window ]]; then
        "$dev" restart orders || rc=1 # with the window that the stack came up with
    fi
    rm -rf "$work"
    exit "$rc"
}
trap finish EXIT
trap 'exit 130' INT TERM

tell() { printf '\n%s\n' "$*"; }
good() { printf '    %s\n' "$*"; }

wrong() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# ask WHO METHOD PATH [JSON]: a request as WHO, whose cookies are kept; the answer is in $work/WHO.{status,head,body}.
ask() {
    local -a body=()
    [[ ! ${4-} ]] || body=(-H 'Content-Type: application/json' --data-binary "$4")
    curl -sS --max-time 20 --cacert "$CA_CERT" -b "$work/$1.jar" -c "$work/$1.jar" -X "$2" "${body[@]}" -D "$work/$1.head" \
        -o "$work/$1.body" -w '%{http_code}' "$BASE_URL$3" >"$work/$1.status" || wrong "$2 $3: no answer"
}

status() { cat "$work/$1.status"; }

# field WHO JQ: a part of WHO's last answer.
field() { jq -r "$2" "$work/$1.body" 2>/dev/null || true; }

# expect WHO STATUS WHAT: WHO's last answer had this status.
expect() {
    [[ $(status "$1") == "$2" ]] || wrong "$3: expected $2, got $(status "$1") $(cat "$work/$1.body")"
}

# eventually SECONDS WHAT COMMAND...: asks again until it is so.
eventually() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        ((SECONDS < end)) || wrong "$what: still not so in time; the last answers: $(tail -qn 1 "$work"/*.body)"
        sleep 0.1
    done
}

# shows WHO PATH JQ: whether PATH, as WHO sees it, fulfils the jq condition.
shows() {
    ask "$1" GET "$2"
    [[ $(status "$1") == 200 ]] && jq -e "$3" "$work/$1.body" >/dev/null
}

sign_up() {
    ask "$1" POST /api/users/signup "{\"email\":\"$1-$run@students.example\",\"password\":\"correct horse $run\",\"name\":\"$1\"}"
    expect "$1" 201 "signing up $1"
    good "$1 has an account: $(field "$1" .email)"
}

# list_stuff TITLE CENTS: the seller lists something; sets stuff.
list_stuff() {
    ask seller POST /api/stuff "{\"title\":\"$1\",\"description\":\"As good as new.\",\"price\":$2}"
    expect seller 201 "listing '$1'"
    stuff=$(field seller .id)
    # Orders learns of it from an event. Until then it knows no such listing (404); then it refuses its own seller (400).
    eventually 15 "orders hears of '$1'" refuses_its_seller
    good "seller lists '$1' for $2 cents; may not buy it ($(field seller '.errors[0].message'))"
    printf '%s\n' "$1" {1..200} >"$work/file"
    curl -sS --max-time 20 --cacert "$CA_CERT" -b "$work/seller.jar" -T "$work/file" -H 'Content-Type: text/plain' \
        -H "Content-Disposition: attachment; filename=\"$1.txt\"" -o "$work/seller.body" -w '%{http_code}' \
        "$BASE_URL/api/stuff/$stuff/file" >"$work/seller.status" || wrong "PUT /api/stuff/$stuff/file: no answer"
    expect seller 200 "uploading the file of '$1'"
    good "seller uploads what is sold: $(field seller .name), $(field seller .size) bytes"
}

refuses_its_seller() {
    ask seller POST /api/orders "{\"stuffId\":\"$stuff\"}"
    [[ $(status seller) == 400 ]]
}

download() {
    ask "$1" GET "$file"
    expect "$1" 200 "downloading"
}

buy() { ask "$1" POST /api/orders "{\"stuffId\":\"$stuff\"}"; }

# pay WHO ORDER TOKEN: payments too learns of the order from an event; until then it is unknown there.
pay() { eventually 15 "payments hears of the order" pays "$@"; }

pays() {
    ask "$1" POST /api/payments "{\"orderId\":\"$2\",\"token\":\"$3\"}"
    [[ $(status "$1") != 404 ]]
}

bought() {
    buy "$1"
    [[ $(status "$1") == 201 ]]
}

is_free='.status == "available" and .orderId == null'

run=$(date +%s)-$$
tell "Two students and a seller sign up at $BASE_URL."
for who in seller alice bob; do
    sign_up "$who"
done
ask alice GET /api/users/currentuser
[[ $(field alice .currentUser.email) == "alice-$run@students.example" ]] || wrong "alice is not signed in: $(cat "$work/alice.body")"

tell "The seller lists the notes of a lecture. Both students click BUY at the same instant."
list_stuff "Notes on distributed systems $run" 1999
ask alice GET "/?q=distributed+systems+$run"
expect alice 200 "searching the shop"
grep -qF "Notes on distributed systems $run" "$work/alice.body" || wrong "the shop's page lacks the listing"
good "the shop shows it on its first page: $BASE_URL"
buy alice &
buy bob &
wait
case "$(status alice) $(status bob)" in
"201 409") winner=alice loser=bob ;;
"409 201") winner=bob loser=alice ;;
*) wrong "one 201 and one 409 were expected, not $(status alice) and $(status bob): $(cat "$work"/{alice,bob}.body)" ;;
esac
order=$(field "$winner" .id)
good "$winner has it until $(field "$winner" .expiresAt) (201, order $order)"
[[ $(field "$loser" '.errors[0].message') == "$held" ]] || wrong "$loser reads '$(field "$loser" '.errors[0].message')'"
retry=$(tr -d '\r' <"$work/$loser.head" | sed -n 's/^retry-after: *//Ip')
[[ $retry =~ ^[1-9][0-9]*$ ]] || wrong "Retry-After is '$retry'"
((retry <= EXPIRATION_WINDOW_SECONDS)) || wrong "Retry-After is $retry, more than the whole window of $EXPIRATION_WINDOW_SECONDS"
good "$loser reads: $held (409, Retry-After: $retry s)"

tell "$winner pays with a test card."
pay "$winner" "$order" pm_card_visa
expect "$winner" 201 "paying"
good "paid: $(field "$winner" .amount) cents"
[[ $(field "$winner" .amount) == 1999 ]] || wrong "not 1999 cents were paid: $(cat "$work/$winner.body")"
eventually 15 "the order is complete" shows "$winner" "/api/orders/$order" '.status == "complete"'
good "$winner's order is complete"
eventually 15 "the listing is sold" shows "$loser" "/api/stuff/$stuff" '.status == "sold"'
good "the listing is sold"
file=/api/stuff/$stuff/file
download "$winner"
cmp -s "$work/file" "$work/$winner.body" || wrong "$winner has another file than the seller uploaded"
good "$winner downloads it: the same $(wc -c <"$work/file") bytes"
ask "$loser" GET "$file"
expect "$loser" 403 "downloading without buying"
good "$loser may not ($(field "$loser" '.errors[0].message'))"
buy "$loser"
expect "$loser" 409 "buying what is sold"
good "$loser can't buy it any more ($(field "$loser" '.errors[0].message'))"

tell "Another order is left to lapse. So that nobody waits for 15 minutes, orders restarts with a window of 5 seconds."
short_window=1
EXPIRATION_WINDOW_SECONDS=5 "$dev" restart orders
list_stuff "A template for theses $run" 500
buy alice
expect alice 201 "alice's BUY"
order=$(field alice .id)
good "alice has it until $(field alice .expiresAt), and does nothing"
eventually 40 "alice's order lapses" shows alice "/api/orders/$order" '.status == "cancelled" and .reason == "expired"'
eventually 15 "the listing is free again" shows bob "/api/stuff/$stuff" "$is_free"
good "alice's order is cancelled (expired), and the listing is free again"
"$dev" restart orders
short_window=''

tell "bob buys it instead, with a card that will be declined."
eventually 15 "bob's BUY" bought bob
order=$(field bob .id)
pay bob "$order" pm_card_chargeCustomerFail
expect bob 402 "paying with a bad card"
good "declined: $(field bob '.errors[0].message') (402)"
eventually 15 "bob's order is cancelled" shows bob "/api/orders/$order" '.status == "cancelled" and .reason == "payment-failed"'
eventually 15 "the listing is free again" shows alice "/api/stuff/$stuff" "$is_free"
good "bob's order is cancelled (payment-failed), and the listing is free again"

tell "Resident memory of the services, each of which must stay under 16 MiB:"
for file in "$RUN_DIR"/*.sock; do
    name=$(basename "$file" .sock)
    kib=$(awk '/^VmRSS/ {print $2}' "/proc/$(<"$RUN_DIR/$name.pid")/status")
    good "$(printf '%-12s %5d KiB' "$name" "$kib")"
    ((kib < 16384)) || wrong "$name uses $kib KiB"
done

tell "All of it went as it should."

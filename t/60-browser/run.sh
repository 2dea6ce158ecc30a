#!/bin/sh
# Runs a test of the shop in a browser, unless what it needs is not there: node, Chromium and, in DEV_TOOLS, what package.json names.
# SPDX-License-Identifier: MIT
skip() {
    if [ "${SKIPS_AS_FAILS-}" = 1 ]; then
        printf '1..1\nnot ok 1 - %s\n' "$1"
        exit 1
    fi
    echo "1..0 # SKIP $1"
    exit 0
}

# A browser sees nothing of how the services are built: one of the builds is enough.
if [ "${T_ROUNDS-}" ] || { [ "${T_TIERS-}" ] && [ "${T_TIERS#*browser}" = "$T_TIERS" ]; }; then
    echo '1..0 # SKIP left out'
    exit 0
fi
[ "${DEV_TOOLS-}" ] || skip 'the servers are not there: ./dev check installs them, or set DEV_TOOLS'
[ -d "$DEV_TOOLS/browser/node_modules" ] || skip "there is no $DEV_TOOLS/browser: ./dev check installs it"
command -v node >/dev/null || skip 'there is no node: apt-get install nodejs'
command -v "${CHROME_PATH:-chromium}" >/dev/null || skip 'there is no Chromium: apt-get install chromium'
exec node "$@"

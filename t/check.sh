# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # the variables are dev's
# SPDX-License-Identifier: MIT
#
# Sourced by dev: everything that must hold before a change goes in. Each step is a function; what it prints goes to a log. A step that
# ran `make check` counts as its tests, any other as one. What failed is told at the end, and the last line sums up.

check_steps=(
    'gcc, warnings are errors: build and make check|check_gcc'
    'clang, warnings are errors: build|check_clang'
    'AddressSanitizer and UndefinedBehaviorSanitizer: build and make check|check_asan'
    'gcovr: what of lib the tests under AddressSanitizer came by|check_coverage'
    'ThreadSanitizer: build and make check|check_tsan'
    'libFuzzer: all targets in t/fuzz|check_fuzz'
    'chaos: faults of all kinds on a stack in use, and guards that are off|check_chaos'
    'make distcheck|check_distcheck'
    'autoreconf && ./configure && make, make install, and a program against what was installed|check_install'
    'cppcheck, clang-tidy and gcc -fanalyzer|check_static'
    'shellcheck and clang-format|check_style'
    'the manifests of each overlay, against the API of Kubernetes|check_manifests'
    'schemathesis: the services answer what the API description says|check_api'
    'groff: the manual pages, and that they leave nothing out|check_manual'
    'promtool: alert rules and what they and the dashboard name|check_monitoring'
    'a stack from nothing: up, demo, down|check_stack'
)

# Whatever the caller's stack uses, the tests bring up their own.
ours_alone=(MONGO_URI NATS_URL REDIS_URL STRIPE_KEY STRIPE_API_BASE STRIPE_WEBHOOK_SECRET JWT_KEY BASE_URL INTERNAL_BASE_URL
    DEV_BUILD DEV_CONFIGURE DEV_PORT DEV_MONGO DEV_STRIPE "${!settings[@]}" NATS_CLIENT_ID FAILPOINTS GUARDS_OFF)

check() {
    local step title function log rc began whole=$SECONDS passed=0 failed=0
    for step; do
        [[ "${check_steps[*]}" == *"|check_$step"* ]] || die "no such step: $step"
    done
    mkdir -p "$state/log" || die "cannot write to $state"
    exec {checking}>"$state/check.lock"
    flock -n "$checking" || die "another ./dev check is running in $state"
    . "$top/t/servers/install.sh"
    . "$top/t/k8s/install.sh"
    say "Setting up"
    unset "${ours_alone[@]}"
    install_missing nats java localstripe mock browser schemathesis collector check
    install_k8s conform api
    umask 022
    home=$state/check
    # What the last check did not stop, because it was interrupted.
    [[ ! -e $home/stack/stack ]] || DEV_STATE=$home/stack "$top/dev" down >/dev/null
    rm -rf "$home"
    mkdir -p "$home/log"
    export DEV_TOOLS=$tools SKIPS_AS_FAILS=1
    unset DEV_STATE
    copy_source "$home/src"
    (cd "$home/src" && autoreconf) >"$home/log/autoreconf.log" 2>&1 || die "autoreconf fails; see $home/log/autoreconf.log"

    for step in "${check_steps[@]}"; do
        title=${step%|*} function=${step##*|}
        if (($#)) && [[ " $* " != *" ${function#check_} "* ]]; then continue; fi
        say "== $title"
        began=$SECONDS
        log=$home/log/${function#check_}.log
        # In the background, since after && or || the shell would not stop the function at its first error.
        (
            set -e
            cd "$home"
            "$function"
        ) >"$log" 2>&1 </dev/null &
        rc=0
        wait $! || rc=$?
        count_tests "$log" "$rc"
        say "   $((SECONDS - began)) s: $step_passed passed, $step_failed failed"
        sed -n 's/^figure: /   /p' "$log"
        if ((step_failed)); then
            grep -E '^(FAIL|ERROR)[ :]' "$log" | head -n 40 | sed 's/^/   /' || true
            say "   see $log"
            tell_failures "$title" "$log" "$home/${function#check_}/test-suite.log" >>"$home/failures"
        fi
        passed=$((passed + step_passed)) failed=$((failed + step_failed))
    done
    [[ ! -e $home/failures ]] || cat "$home/failures"
    say "$((SECONDS - whole)) s in all; the logs are in $home/log"
    say "$passed passed, $failed failed"
    ((failed == 0))
}

# count_tests LOG STATUS: sets step_passed and step_failed from automake's summaries. With SKIPS_AS_FAILS a program that lacks its
# servers fails; what is skipped all the same is what T_TIERS left out.
count_tests() {
    local what number
    step_passed=0 step_failed=0
    while read -r what number; do
        case $what in
        PASS | XFAIL) step_passed=$((step_passed + number)) ;;
        SKIP) ;;
        *) step_failed=$((step_failed + number)) ;;
        esac
    done < <(sed -n 's/^# \(PASS\|XFAIL\|FAIL\|XPASS\|ERROR\|SKIP\): *\([0-9]\+\)$/\1 \2/p' "$1")
    if (($2 != 0 && step_failed == 0)); then
        step_failed=1
    elif (($2 == 0 && step_passed + step_failed == 0)); then
        step_passed=1
    fi
}

# tell_failures TITLE LOG SUITE: what failed in a step, each test with the beginning and the end of what it said; or, when it was no
# test that failed, the end of the step's log.
tell_failures() {
    echo "failed: $1"
    if ! grep -qE '^(FAIL|ERROR): ' "$2" || [[ ! -e $3 ]]; then
        tail -n 10 "$2" | sed 's/^/   | /'
        return
    fi
    awk '
        /^(ok|not ok|PASS|SKIP|XFAIL)[ :]/ || /^=+$/ { if (!/^not/) n = 0; next }
        /^(FAIL|ERROR): .* - / {
            print "   " $0
            for (i = 0; i < n; i++) if (i < 4 || i >= n - 8) print "   | " substr(lines[i], 1, 200)
            n = 0
            next
        }
        { lines[n++] = $0 }' "$3"
}

# configure_and_make NAME FLAG...: a build of its own in check/NAME, outside of the source tree.
configure_and_make() {
    local name=$1
    shift
    mkdir "$home/$name"
    cd "$home/$name"
    ../src/configure "$@"
    make -j"$(nproc)"
}

# Some of the tests wait for servers at any time, so one more of them runs than there are processors.
make_check() {
    make check -j"$(($(nproc) + 1))"
}

check_gcc() {
    configure_and_make gcc CC=gcc --enable-werror --enable-failpoints
    make_check
}

check_clang() {
    configure_and_make clang CC=clang --enable-werror
}

# Sanitizers slow all down: the races run fewer rounds under them.
check_asan() {
    export T_ROUNDS=20
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1${ASAN_OPTIONS+:$ASAN_OPTIONS}
    export UBSAN_OPTIONS=print_stacktrace=1${UBSAN_OPTIONS+:$UBSAN_OPTIONS}
    suppress LSAN_OPTIONS lsan
    configure_and_make asan CC=gcc --enable-asan --enable-ubsan --enable-failpoints --enable-coverage
    make_check
}

# covered WHAT OPTION...: a table of the lines of lib that were executed and those that were not, and the figure.
covered() {
    local what=$1 src rc=0
    shift
    src=$(realpath "$home/src") # gcovr's filters are of real paths
    gcovr -r "$src" --object-directory . -f "$src/lib/" "$@" . >covered || rc=$?
    cat covered
    echo "figure: $(awk '/^TOTAL/ { print $4 }' covered) of lib's lines are $what"
    return $rc
}

# Services that are killed leave no counters, those that end do. What no test comes by is explained in place, by gcovr's markers; but
# for lines that end a process which is out of memory: there is no use for these as long as lib/memory.c is there first (test-memory).
# Of what is not explained a little may be missing, since it takes a race to come by some lines.
check_coverage() {
    if [[ ! -e $home/asan/Makefile ]]; then
        check_asan
    fi
    cd "$home/asan"
    # Markers count for nothing here.
    covered 'come by' --exclude-pattern-prefix NONE --fail-under-line 90
    covered 'come by or explained' --fail-under-line 99 \
        --exclude-lines-by-pattern '.*(_exit\(EX_OSERR\)|out_of_memory\(\)|without_outbox\(cx, &?event\));.*'
}

check_tsan() {
    export T_ROUNDS=10
    suppress TSAN_OPTIONS tsan
    configure_and_make tsan CC=clang --enable-tsan --enable-failpoints
    make_check
}

fuzz_seconds=300 # that check_fuzz takes in all, on two processors

# fuzz_for SECONDS TARGET: runs t/fuzz/fuzz-TARGET in the current build. What it learns goes to corpus/TARGET, what breaks it to found/.
fuzz_for() {
    local seconds=$1 target=$2
    mkdir -p "corpus/$target" found
    "t/fuzz/fuzz-$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
        -dict="$fuzz_source/t/fuzz/words.dict" -artifact_prefix="found/$target-" "corpus/$target" "$fuzz_source/t/fuzz/seeds/$target"
}

fuzz_targets() {
    local file
    for file in "$fuzz_source"/t/fuzz/fuzz-*.c; do
        file=${file##*/fuzz-}
        echo "${file%.c}"
    done
}

# in_pairs COMMAND ARG...: runs COMMAND with each ARG, two of them at a time. A failure of one is one of all, and its log is shown.
in_pairs() {
    local command=$1 argument log running=0 rc=0
    shift
    for argument; do
        if ((running == 2)); then
            wait -n || rc=1
            running=1
        fi
        log=${argument// /-}.log
        "$command" "$argument" >"$log" 2>&1 || {
            tail -n 60 "$log"
            exit 1
        } &
        running=$((running + 1))
    done
    for ((; running > 0; running--)); do
        wait -n || rc=1
    done
    return $rc
}

# The targets are many small programs: each runs as long as the others.
check_fuzz() {
    local each
    local -a targets=()
    fuzz_source=$home/src
    mapfile -t targets < <(fuzz_targets)
    each=$((fuzz_seconds * 2 / ${#targets[@]}))
    configure_and_make fuzz CC=clang CFLAGS='-O1 -g' --enable-fuzzing --enable-werror
    in_pairs fuzz_each "${targets[@]}"
    grep -H '^stat::number_of_executed_units' ./*.log
}

fuzz_each() { fuzz_for "$each" "$1"; }

# fuzz TARGET [--minutes N]: dev's verb.
fuzz() {
    local target=${1-} minutes=1
    fuzz_source=$state/fuzz/src
    [[ $target && -e $top/t/fuzz/fuzz-$target.c ]] || die "usage: ./dev fuzz TARGET [--minutes N], where TARGET is one of: $(fuzz_source=$top fuzz_targets | xargs)"
    [[ ${2-} != --minutes ]] || minutes=${3-}
    [[ $minutes =~ ^[0-9]+$ ]] || die "--minutes takes a number"
    . "$top/t/servers/install.sh"
    install_missing check
    copy_source "$fuzz_source"
    cd "$state/fuzz"
    (cd src && autoreconf)
    src/configure -q CC=clang CFLAGS='-O1 -g' --enable-fuzzing
    make -s -j"$(nproc)" "t/fuzz/fuzz-$target"
    fuzz_for $((minutes * 60)) "$target"
}

# in_chaos SOURCE BUILD ARG...: runs t/chaos/chaos.
in_chaos() {
    top_srcdir=$1 top_builddir=$2 DEV_TOOLS=$tools "$2/t/chaos/chaos" "${@:3}"
}

# Each kind of fault once, and each guard off.
check_chaos() {
    [[ -e $home/gcc/Makefile ]] || configure_and_make gcc CC=gcc --enable-werror --enable-failpoints
    make -C "$home/gcc" -j"$(nproc)" t/checker t/chaos/chaos
    in_chaos "$home/src" "$home/gcc" --plan --minutes 20 --seed 7 >plan
    in_chaos "$home/src" "$home/gcc" --plan --minutes 20 --seed 7 | diff plan -
    if in_chaos "$home/src" "$home/gcc" --plan --minutes 20 --seed 8 | diff -q plan -; then
        return 1
    fi
    in_chaos "$home/src" "$home/gcc" --minutes 1 --seed 1
    in_pairs chaos_control 'ack before save' 'no unique index' 'publish before save' 'no idempotency key' 'no version check'
}

chaos_control() { in_chaos "$home/src" "$home/gcc" --controls "$1"; }

# chaos ARG...: dev's verb. Its build has failpoints, for clocks that jump and guards that are off.
chaos() {
    local home=$state/chaos
    . "$top/t/servers/install.sh"
    unset "${ours_alone[@]}"
    install_missing nats java check
    copy_source "$home/src"
    mkdir -p "$home/build"
    cd "$home/build"
    if [[ ! -e Makefile || $top/configure.ac -nt Makefile ]]; then
        (cd ../src && autoreconf)
        ../src/configure -q --enable-failpoints
    fi
    make -s -j"$(nproc)"
    make -s -j"$(nproc)" t/checker t/chaos/chaos
    in_chaos "$home/src" "$home/build" "$@"
}

# suppress VARIABLE NAME: t/NAME.supp, if there is one, names the libraries' false positives.
suppress() {
    [[ ! -e $home/src/t/$2.supp ]] || export "$1=suppressions=$home/src/t/$2.supp${!1+:${!1}}"
}

check_distcheck() {
    # The packed source must build and pass somewhere else; servers and races have had their turn above.
    [[ -e $home/gcc/Makefile ]] || configure_and_make gcc CC=gcc --enable-werror --enable-failpoints
    cd "$home/gcc"
    SKIPS_AS_FAILS='' T_TIERS=unit make distcheck DISTCHECK_CONFIGURE_FLAGS= -j"$(nproc)"
}

check_install() {
    local root=$home/root package
    local -a flags
    copy_source "$home/fresh"
    cd "$home/fresh"
    autoreconf
    # Where nothing is installed, configure names all of it at once.
    if PKG_CONFIG_LIBDIR=/nonexistent ./configure >"$home/log/nothing.log" 2>&1; then
        return 1
    fi
    for package in fcgi mongoc nats json-c jwt hiredis sodium curl4-openssl cunit1; do
        grep "^ *lib$package-dev (" "$home/log/nothing.log"
    done
    sh -c 'autoreconf && ./configure && make'
    make install DESTDIR="$root"
    cd "$home"
    cat >outsider.c <<'EOF'
#include <ticketing/service.h>

int main(void)
{
	const struct setting *const none[] = {NULL};
	char errors[64];

	return setting_read(none, errors, sizeof(errors));
}
EOF
    # DESTDIR stands in for /: only this library's own paths lie below it.
    sed "s|^prefix=.*|prefix=$root/usr/local|" "$root/usr/local/lib/pkgconfig/ticketing.pc" >ticketing.pc
    read -r -a flags < <(PKG_CONFIG_PATH=$home pkg-config --cflags --libs ticketing)
    gcc -Wall -Werror -o outsider outsider.c "${flags[@]}"
    ./outsider
}

check_style() {
    local -a scripts=(dev .ci/run k8s/build-image) sources=()
    local file
    cd "$home/src"
    while IFS= read -r -d '' file; do
        case $file in
        *.sh | t/lint/* | t/model/test-* | t/k8s/images/mongod) scripts+=("$file") ;;
        *.[ch]) sources+=("$file") ;;
        esac
    done <"$home/src.files"
    shellcheck "${scripts[@]}"
    if [[ -e .clang-format ]]; then
        clang-format --dry-run -Werror "${sources[@]}"
    fi
}

# render OVERLAY: what `kubectl apply -k` would hand to the API server.
render() { "$tools/bin/kustomize" build "$home/src/k8s/overlays/$1"; }

conforms() { "$tools/bin/kubeconform" -strict -summary -schema-location "$tools/k8s/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"; }

# api_server: etcd and the API server, until the step ends; kubectl asks it.
api_server() {
    local folder=$home/api-server etcd peers port end=$((SECONDS + 120))
    mkdir "$folder"
    read -r etcd peers port < <("$python" -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))')
    openssl genrsa -out "$folder/accounts.key" 2048 2>"$folder/openssl.log"
    echo 'token,admin,admin,system:masters' >"$folder/tokens"
    etcd --data-dir "$folder/etcd" --listen-client-urls "http://127.0.0.1:$etcd" --advertise-client-urls "http://127.0.0.1:$etcd" \
        --listen-peer-urls "http://127.0.0.1:$peers" >"$folder/etcd.log" 2>&1 &
    # shellcheck disable=SC2064 # the processes as they are now
    trap "kill $!" EXIT
    # It wants to tell others of an address that is not loopback; there are none.
    "$tools/k8s/api/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd" --bind-address 127.0.0.1 --secure-port "$port" \
        --advertise-address 192.0.2.1 --endpoint-reconciler-type none --service-cluster-ip-range 10.96.0.0/16 --cert-dir "$folder" \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$folder/accounts.key" \
        --service-account-signing-key-file "$folder/accounts.key" --token-auth-file "$folder/tokens" \
        --authorization-mode RBAC >"$folder/kube-apiserver.log" 2>&1 &
    # shellcheck disable=SC2064
    trap "kill $! $(jobs -p | xargs); wait" EXIT
    kubectl=("$tools/k8s/api/kubectl" --kubeconfig /dev/null --cache-dir "$folder/cache" --server "https://127.0.0.1:$port"
        --certificate-authority "$folder/apiserver.crt" --tls-server-name kubernetes --token token)
    until "${kubectl[@]}" get namespace default; do
        ((SECONDS < end)) || { tail "$folder"/*.log && return 1; }
        sleep 0.2
    done >"$folder/wait.log" 2>&1
}

accepts() { "${kubectl[@]}" apply --dry-run=server --validate=strict -f "$1"; }

check_manifests() {
    local overlay
    local -a kubectl
    for overlay in local local-gateway production; do
        render "$overlay" >"$overlay.yaml"
        conforms "$overlay.yaml"
    done
    # It can fail: a word that the API does not know.
    sed 's/maxUnavailable: 0/maxUnavailible: 0/' local.yaml >wrong.yaml
    if conforms wrong.yaml; then return 1; fi

    api_server
    for overlay in local local-gateway production; do
        accepts "$overlay.yaml"
    done
    if accepts wrong.yaml; then return 1; fi
    # What no schema sees, and it does.
    sed 's/cpu: 50m/cpu: 50/' local.yaml >wrong.yaml # more than the limit
    conforms wrong.yaml
    if accepts wrong.yaml; then return 1; fi
}

# Every setting and every verb is in a manual page.
check_manual() {
    local name
    cd "$home/src"
    # Other warnings are errors too, but groff does not say so by its status.
    groff -mdoc -ww -z -Tutf8 man/ticketing-services.8 man/ticketing-dev.1 >"$home/manual" 2>&1
    diff /dev/null "$home/manual"
    while read -r name; do
        grep -qE "^\.It Ev .*\b$name\b" man/ticketing-services.8 || { echo "man/ticketing-services.8 lacks $name" && return 1; }
    done < <(grep -rhoP '\.name = "\K[A-Z_]+(?=")' lib fcgi | sort -u)
    while read -r name; do
        grep -qE "^\.It .*Cm $name\b" man/ticketing-dev.1 || { echo "man/ticketing-dev.1 lacks $name" && return 1; }
    done < <(./dev help | grep -oP '^  \K[a-z]+')
}

check_api() {
    [[ -e $home/gcc/Makefile ]] || configure_and_make gcc CC=gcc --enable-werror --enable-failpoints
    export DEV_STATE=$home/api DEV_PORT=0 DEV_MONGO=memory DEV_STRIPE=scripted DEV_BUILD=$home/gcc
    # shellcheck disable=SC2064 # the path as it is now
    trap "'$top/dev' down --wipe" EXIT
    "$top/dev" up
    "$home/src/t/api.sh"
}

# What the dashboard and the alerts ask for is declared somewhere, and nothing is declared that neither shows.
check_monitoring() {
    local name
    cd "$home/src"
    promtool check rules k8s/monitoring/alerts.yaml
    promtool test rules k8s/monitoring/alerts-test.yaml
    jq -e '.panels | length > 0' k8s/monitoring/dashboard.json
    grep -rhoPz 'METRIC_(COUNTER|GAUGE|MEASURED|HISTOGRAM),\s*"\K[a-z_]+' lib fcgi | tr '\0' '\n' | sort -u >"$home/declared"
    for name in dashboard.json alerts.yaml; do
        grep -oP 'ticketing_\K[a-z_]+' "k8s/monitoring/$name" | sed -E 's/_(bucket|count|sum)$//'
    done | sort -u >"$home/shown"
    diff "$home/declared" "$home/shown"
}

# Each finding is mended, or answered where it is (NOLINT, cppcheck-suppress). What is left out as a whole is in .clang-tidy.
check_static() {
    local -a flags=()
    cd "$home/src"
    read -r -a flags < <(pkg-config --cflags fcgi libmongoc-1.0 libnats json-c libjwt libsodium hiredis libcurl | sed 's/-I */-isystem /g')
    flags+=(-std=gnu17 -D_GNU_SOURCE -DNATS_HAS_STREAMING -Ilib)
    cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
        --error-exitcode=1 -Ilib -DNATS_HAS_STREAMING lib fcgi
    printf '%s\n' lib/*.c fcgi/*/*.c | xargs -P "$(nproc)" -I {} clang-tidy -quiet {} -- "${flags[@]}"
    # What leaks, LeakSanitizer sees; the analyzer loses sight of what is kept in a list or given to a thread.
    printf '%s\n' lib/*.c fcgi/*/*.c | xargs -P "$(nproc)" -I {} gcc -c -o /dev/null -O1 -fanalyzer -Wno-analyzer-malloc-leak -Werror "${flags[@]}" {}
}

check_stack() {
    export DEV_STATE=$home/stack DEV_PORT=0
    # shellcheck disable=SC2064 # the path as it is now
    trap "'$top/dev' down --wipe" EXIT
    "$top/dev" up
    "$top/dev" demo
}

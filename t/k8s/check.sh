# shellcheck shell=bash
# shellcheck disable=SC1091,SC2154 # the variables are dev's
# SPDX-License-Identifier: MIT
#
# Sourced by dev: a real cluster on this machine, made of what install.sh built, in namespaces of its own; see README.md. What it leaves
# is in DEV_TOOLS, for the next time.

# left_cgroups: what a node and dockerd made outside of all namespaces. Folders with a process in them stay.
left_cgroups() {
    local folder
    for folder in /sys/fs/cgroup/{,*/}{kubepods,k8s.io,docker}; do
        [[ ! -d $folder ]] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

check_k8s() {
    local rc=0 lab build
    ((EUID == 0)) || die "check-k8s makes namespaces, bridges and mounts: it needs root"
    mkdir -p "$state/log" "$state/k8s" || die "cannot write to $state"
    exec {checking}>"$state/k8s.lock"
    flock -n "$checking" || die "another ./dev check-k8s is running in $state"
    . "$top/t/servers/install.sh"
    . "$top/t/k8s/install.sh"
    unset MONGO_URI NATS_URL REDIS_URL STRIPE_KEY STRIPE_API_BASE STRIPE_WEBHOOK_SECRET JWT_KEY BASE_URL INTERNAL_BASE_URL
    unset DEV_PORT DEV_MONGO DEV_STRIPE "${!settings[@]}" NATS_CLIENT_ID FAILPOINTS GUARDS_OFF
    say "Setting up"
    install_missing nats java
    install_k8s cluster
    umask 022
    # Paths of sockets are short, and what is mounted in there must be gone before it is removed.
    lab=$(mktemp -d /tmp/ticketing-k8s.XXXXXX)
    # shellcheck disable=SC2064 # the paths as they are now
    trap "left_cgroups; rm -rf --one-file-system '$lab'" EXIT
    copy_source "$lab/src"
    build=${DEV_BUILD-}
    if [[ ! $build ]]; then
        build=$lab/build
        job "building the tests" build_tests "$lab/src" "$build"
        finish_jobs "the tests do not build"
    fi
    env top="$top" tools="$tools" lab="$lab" python="$python" services="${services[*]}" src="$lab/src" build="$build" \
        unshare --mount --pid --fork --kill-child --mount-proc -- "$top/t/k8s/lab.sh" "$@" {checking}>&- || rc=$?
    mkdir -p "$state/k8s/log"
    cp -r "$lab/log/." "$state/k8s/log/" 2>/dev/null || true
    say "The logs are in $state/k8s/log."
    return "$rc"
}

build_tests() {
    (cd "$1" && autoreconf)
    mkdir -p "$2"
    cd "$2" || return
    "$1/configure" -q --enable-failpoints
    make -s -j"$(nproc)" check TESTS=
}

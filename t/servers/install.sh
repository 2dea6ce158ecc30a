# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are dev's
# SPDX-License-Identifier: MIT
# Sourced by dev: installs what is missing, Debian's packages for the machine and the servers' own programs into DEV_TOOLS.
# Uses dev's say, die, top, tools and state.

nats_streaming=github.com/nats-io/nats-streaming-server@v0.25.6
go_toolchain=go1.22.12 # where the machine's go is older
stripe_mock=github.com/stripe/stripe-mock@v0.148.0 # the last that Debian's Go builds

# A name with bars is there when any of its alternatives is; the first is what gets installed.
packages_to_build=(
    gcc make autoconf automake pkg-config libfcgi-dev libmongoc-dev libnats-dev libjson-c-dev libjwt-dev libhiredis-dev libcunit1-dev
    libsodium-dev libcurl4-openssl-dev
)
packages_to_run=(
    libfcgi-bin spawn-fcgi 'nginx-light|nginx|nginx-core|nginx-full|nginx-extras' redis-server openssl curl jq ca-certificates
    'python3-venv|python3-full'
)
packages_for_java=('openjdk-17-jdk-headless|openjdk-17-jdk|openjdk-21-jdk-headless|openjdk-21-jdk')
packages_to_check=(clang libclang-rt-14-dev clang-format clang-tidy cppcheck gcovr groff-base iproute2 prometheus shellcheck spin)

# install_packages NAME...: one apt-get for all that is missing, nothing when nothing is.
install_packages() {
    local -A installed=()
    local -a missing=()
    local package status name wanted
    if ! command -v dpkg-query >/dev/null; then
        say "This is not Debian: taking for granted that the packages' likes are installed ($*)."
        return
    fi
    # shellcheck disable=SC2086,SC2048 # split into words on purpose
    while read -r package status; do
        [[ $status != ii* ]] || installed[$package]=1
    done < <(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' ${*//|/ } 2>/dev/null)
    for wanted in "$@"; do
        for name in ${wanted//|/ }; do
            [[ ! ${installed[$name]-} ]] || continue 2
        done
        missing+=("${wanted%%|*}")
    done
    ((${#missing[@]})) || return 0

    local -a as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "these packages are missing and there is no sudo; as root: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
    fi
    job "installing ${#missing[@]} Debian packages (a minute or so): ${missing[*]}" "${as_root[@]}" bash -c "$apt_script" apt "${missing[@]}"
    finish_jobs "apt-get could not install the packages"
}

# Debian starts a server as soon as it is installed, and again at each boot. Ours run as the user and only while wanted, so the
# policy says no while apt works, and what apt enabled is disabled again. Nothing of this stays behind.
# shellcheck disable=SC2016 # it is expanded by the shell that runs it
apt_script='
    set -e
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap "rm -f $policy" EXIT
        printf "#!/bin/sh\nexit 101\n" > $policy
        chmod +x $policy
    fi
    apt-get -q update
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
    if [ -d /run/systemd/system ]; then
        for package; do
            case $package in
            nginx*) systemctl --quiet disable nginx || true ;;
            redis*) systemctl --quiet disable redis-server || true ;;
            prometheus) systemctl --quiet disable prometheus prometheus-node-exporter || true ;;
            esac
        done
    fi'

# installed NAME FILE...: whether NAME was installed from these very files; mark_installed says that it now is.
installed() {
    local name=$1
    shift
    cat "$@" 2>/dev/null | cmp -s - "$tools/$name.from"
}

mark_installed() {
    local name=$1
    shift
    cat "$@" >"$tools/$name.from"
}

# install_go NAME MODULE: a program from the Go module proxy.
install_go() {
    # Everything that go downloads and builds goes under DEV_TOOLS and is dropped afterwards, some 400 MB.
    local name=$1 module=$2 scratch=$tools/go.$1.tmp
    mkdir -p "$scratch"
    GOBIN=$tools/bin GOPATH=$scratch GOCACHE=$scratch/cache GOFLAGS=-modcacherw GOTOOLCHAIN=local CGO_ENABLED=0 \
        go install "$module"
    rm -rf "$scratch"
    mark_installed "$name" <(echo "$module")
}

install_mongo() {
    local scratch=$tools/maven.tmp
    rm -rf "$tools/jars"
    mvn -q -B -ntp -Dmaven.repo.local="$scratch" -f "$top/t/servers/pom.xml" \
        dependency:copy-dependencies -DoutputDirectory="$tools/jars"
    javac -cp "$tools/jars/*" -d "$tools/jars" "$top/t/servers/MongoServer.java"
    rm -rf "$scratch"
    mark_installed java "$top/t/servers/pom.xml" "$top/t/servers/MongoServer.java"
}

install_localstripe() {
    rm -rf "$tools/stripe"
    "$python" -m venv "$tools/stripe"
    "$tools/stripe/bin/pip" install -q --no-cache-dir --disable-pip-version-check --no-deps -r "$top/t/servers/requirements.txt"
    mark_installed localstripe "$top/t/servers/requirements.txt"
}

# What the tests of the shop in a browser need; nothing that comes with it is run while it is installed. Where a package asks for the
# "latest" of another, the lock says "*": Debian's npm can read no override of a tag.
install_browser() {
    rm -rf "$tools/browser"
    mkdir -p "$tools/browser"
    cp "$top/t/60-browser/package.json" "$top/t/60-browser/package-lock.json" "$tools/browser/"
    (cd "$tools/browser" && npm ci --ignore-scripts --no-audit --no-fund --cache "$tools/npm.tmp")
    rm -rf "$tools/npm.tmp"
    mark_installed browser "$top/t/60-browser/package.json" "$top/t/60-browser/package-lock.json"
}

# What the services are compared with by ./dev bench.
install_express() {
    rm -rf "$tools/express"
    mkdir -p "$tools/express"
    cp "$top/t/bench/express/package.json" "$top/t/bench/express/package-lock.json" "$tools/express/"
    (cd "$tools/express" && npm ci --ignore-scripts --no-audit --no-fund --cache "$tools/npm-express.tmp")
    rm -rf "$tools/npm-express.tmp"
    mark_installed express "$top/t/bench/express/package.json" "$top/t/bench/express/package-lock.json"
}

install_schemathesis() {
    rm -rf "$tools/schemathesis"
    "$python" -m venv "$tools/schemathesis"
    "$tools/schemathesis/bin/pip" install -q --no-cache-dir --disable-pip-version-check --no-deps -r "$top/t/servers/schemathesis.txt"
    mark_installed schemathesis "$top/t/servers/schemathesis.txt"
}

# new_go: sets go to a go that builds what Debian's is too old for: the machine's, or one that comes as a module through the module proxy.
new_go() {
    local version dir
    go=go
    version=$(GOTOOLCHAIN=local go env GOVERSION)
    if [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 22)); then return; fi
    dir=$(module_dir golang.org/toolchain "v0.0.1-$go_toolchain.linux-$(dpkg --print-architecture)")
    chmod -R u+x "$dir/bin" "$dir/pkg/tool"
    go=$dir/bin/go
}

# with_go COMMAND...: in a folder of modules and build results, which goes once all of that is installed.
with_go() {
    GOPATH=$go_scratch GOCACHE=$go_scratch/cache GOFLAGS='-modcacherw -mod=mod -trimpath -buildvcs=false' GOTOOLCHAIN=local \
        CGO_ENABLED=0 GOWORK=off "$@"
}

# module_dir MODULE VERSION: downloads it; prints its folder.
module_dir() { with_go "${go:-go}" mod download -json "$1@$2" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p'; }

# The tests' collector of spans. Its versions are the last that the older go builds.
install_collector() {
    local go go_scratch=$tools/collector.tmp
    mkdir -p "$go_scratch/build"
    new_go
    cp "$top/t/servers/collector/"* "$go_scratch/build/"
    (cd "$go_scratch/build" && with_go "$go" build -ldflags '-s -w' -o "$tools/bin/collector" .)
    rm -rf "$go_scratch"
    mark_installed collector "$top/t/servers/collector/"*
}

# go_is_there: any go from 1.19 on will do, wherever it comes from.
go_is_there() {
    local version
    version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || return 1
    [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 19))
}

# install_missing SERVER...: what these servers (nats, java, localstripe, mock, schemathesis, collector), the browser of the tests, the
# benchmark and the build need. Stacks that share DEV_TOOLS take turns.
install_missing() {
    local nats='' mock='' java='' stripe='' browser='' schemathesis='' collector='' express='' server
    local -a packages=("${packages_to_run[@]}")
    [[ ${DEV_BUILD-} ]] || packages+=("${packages_to_build[@]}")
    mkdir -p "$tools" || die "cannot write to $tools"
    exec {turn}>"$tools/lock"
    flock "$turn"
    for server; do
        case $server in
        nats) installed nats <(echo "$nats_streaming") || nats=1 ;;
        java)
            packages+=("${packages_for_java[@]}")
            installed java "$top/t/servers/pom.xml" "$top/t/servers/MongoServer.java" || java=1
            ;;
        localstripe) installed localstripe "$top/t/servers/requirements.txt" || stripe=1 ;;
        mock) installed mock <(echo "$stripe_mock") || mock=1 ;;
        browser)
            packages+=(chromium nodejs)
            command -v npm >/dev/null || packages+=(npm) # others' nodejs brings it along
            installed browser "$top/t/60-browser/package.json" "$top/t/60-browser/package-lock.json" || browser=1
            ;;
        schemathesis) installed schemathesis "$top/t/servers/schemathesis.txt" || schemathesis=1 ;;
        collector) installed collector "$top/t/servers/collector/"* || collector=1 ;;
        check) packages+=("${packages_to_check[@]}") ;;
        bench)
            packages+=(nodejs wrk valgrind)
            command -v npm >/dev/null || packages+=(npm)
            installed express "$top/t/bench/express/package.json" "$top/t/bench/express/package-lock.json" || express=1
            ;;
        esac
    done
    [[ ! $java ]] || packages+=(maven)
    [[ ! $nats$mock$collector ]] || go_is_there || packages+=(golang-go)
    install_packages "${packages[@]}"

    [[ ! $nats ]] || job "building nats-streaming-server (half a minute)" install_go nats "$nats_streaming"
    [[ ! $mock ]] || job "building stripe-mock" install_go mock "$stripe_mock"
    [[ ! $java ]] || job "fetching mongo-java-server" install_mongo
    [[ ! $stripe ]] || job "fetching localstripe" install_localstripe
    [[ ! $browser ]] || job "fetching what drives the browser" install_browser
    [[ ! $express ]] || job "fetching Express and what goes with it" install_express
    [[ ! $schemathesis ]] || job "fetching schemathesis" install_schemathesis
    [[ ! $collector ]] || job "building an OpenTelemetry collector (two minutes)" install_collector
    finish_jobs "not everything could be installed"
    exec {turn}>&-
}

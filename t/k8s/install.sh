# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables are dev's
# SPDX-License-Identifier: MIT
# Sourced by dev after t/servers/install.sh: what checks the manifests, and what a real cluster is made of, from the Go module proxy and
# Debian's packages alone. Programs go to DEV_TOOLS/bin, what only this needs to DEV_TOOLS/k8s.

kubernetes=v1.31.4
kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.4.3
kubeconform=github.com/yannh/kubeconform/cmd/kubeconform@v0.6.7
packages_for_k8s=(
    debootstrap docker.io containerd runc containernetworking-plugins etcd-server iptables ipset conntrack iproute2 socat util-linux
)

# build_inside NAME MODULE VERSION SOURCE LDFLAGS [EDIT...]: a program of a module that cannot be had by `go install`: built with that
# module's own go.mod, so with the versions that its authors chose but for EDITs. SOURCE is a package of it, or a folder of ours; tags
# may be set to build tags.
build_inside() {
    local name=$1 module=$2 version=$3 source=$4 flags=$5 dir work=$tools/k8s.tmp/build-$1
    rm -rf "$work"
    mkdir -p "$work" "$tools/bin"
    dir=$(module_dir "$module" "$version")
    cp "$dir/go.sum" "$work/"
    # In the repository, Kubernetes' own libraries are folders beside it; as modules they have its version.
    sed -e '/^replace (/,/^)/d; /^toolchain /d; s/^module .*/module build/' \
        -e "s|^\\(\\tk8s\\.io/[a-z/-]*\\) v0\\.0\\.0\$|\\1 v0${version#v1}|" "$dir/go.mod" >"$work/go.mod"
    if [[ -d $source ]]; then
        cp "$source"/*.go "$work/"
        source=.
    fi
    (
        cd "$work" || exit
        with_go "$go" mod edit -require="$module@$version" "${@:6}"
        with_go "$go" build -tags "${tags-}" -gcflags=all=-dwarf=false -ldflags "-s -w $flags" -o "$tools/bin/$name" "$source"
    )
}

# build_kube NAME: of t/k8s/kube.
build_kube() {
    local package flags='' v=${kubernetes#v1.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${v%%.*}"
        flags+=" -X $package.gitCommit=module -X $package.gitTreeState=clean -X $package.buildDate=2024-12-10T00:00:00Z"
    done
    build_inside "$1" k8s.io/kubernetes "$kubernetes" "$top/t/k8s/kube" "$flags"
}

install_kube() {
    local package
    build_kube kube
    for package in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
        ln -sf kube "$tools/bin/$package"
    done
}

# The API server and kubectl alone, in half the time of all the rest.
install_api() {
    local program
    tags=api build_kube kube-api
    mkdir -p "$tools/k8s/api"
    for program in kube-apiserver kubectl; do
        ln -sf ../../bin/kube-api "$tools/k8s/api/$program"
    done
    mark_installed api <(declare -f build_inside build_kube install_api) "$top/t/k8s/kube/main.go"
}

install_coredns() { build_inside coredns github.com/coredns/coredns v1.11.3 "$top/t/k8s/coredns" ''; }

install_skaffold() {
    local module=github.com/GoogleContainerTools/skaffold/v2
    # A go of today does not compile the one that it names.
    build_inside skaffold $module v2.13.2 $module/cmd/skaffold "-X $module/pkg/skaffold/version.version=v2.13.2" \
        -replace=golang.org/x/tools=golang.org/x/tools@v0.24.1
}

install_policies() {
    local module=github.com/cloudnativelabs/kube-router
    build_inside kube-router $module v1.6.1 $module/cmd/kube-router ''
}

install_ingress() {
    local module=k8s.io/ingress-nginx version=v0.0.0-20240708192948-52c50467d67d dir # 1.11.0
    build_inside nginx-ingress-controller $module $version $module/cmd/nginx "-X $module/version.RELEASE=1.11.0"
    dir=$(module_dir $module $version)
    rm -rf "$tools/k8s/ingress-nginx"
    mkdir -p "$tools/k8s/ingress-nginx"
    cp -r "$dir"/rootfs/etc/nginx/{lua,template,nginx.conf} "$dir/deploy/static/provider/baremetal/deploy.yaml" "$tools/k8s/ingress-nginx/"
    chmod -R u+w "$tools/k8s/ingress-nginx"
}

install_pause() {
    local work=$tools/k8s.tmp/build-pause
    mkdir -p "$work"
    cp "$top/t/k8s/pause/main.go" "$work/"
    (
        cd "$work" || exit
        printf 'module pause\ngo 1.21\n' >go.mod
        with_go "$go" build -ldflags '-s -w' -o "$tools/bin/pause" .
    )
}

# A Debian base image from this machine's own mirror, under the name that Dockerfile wants.
install_base() {
    local root=$tools/k8s.tmp/root mirror file
    # A machine has one kind of these files, or both.
    mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\(http[^ ]*\) .*/\2/p' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list \
        2>/dev/null) || [[ $mirror ]]
    mirror=${mirror%%$'\n'*}
    rm -rf --one-file-system "$root"
    debootstrap --variant=minbase bookworm "$root" "$mirror"
    # What containers need to reach the same mirror as this machine.
    rm -f "$root/etc/apt/sources.list"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources; do
        [[ ! -e $file ]] || cp "$file" "$root$file"
    done
    cp /etc/apt/apt.conf.d/* "$root/etc/apt/apt.conf.d/"
    mkdir -p "$root/usr/local/share/ca-certificates"
    ! compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null ||
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
    # What Debian's -slim image leaves out.
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/* "$root"/var/log/*.log
    mkdir -p "$tools/k8s"
    tar -C "$root" --numeric-owner --exclude='./dev/*' -cf "$tools/k8s/base.tar" .
    rm -rf --one-file-system "$root"
}

# The JSON schemas of the API server's own objects, made of its OpenAPI document.
install_schemas() {
    rm -rf "$tools/k8s/schemas"
    mkdir -p "$tools/k8s/schemas"
    "$python" "$top/t/k8s/schemas.py" "$(module_dir k8s.io/kubernetes "$kubernetes")/api/openapi-spec/swagger.json" "$tools/k8s/schemas"
}

install_with_go() { GOBIN=$tools/bin with_go "$go" install "$1"; }

# install_k8s PART...: what is missing of them (conform: renders and checks manifests; api: the API server alone, for a dry run; cluster:
# a whole one).
install_k8s() {
    local part
    local -a packages=() conform=() api=() cluster=()
    exec {turn}>"$tools/lock"
    flock "$turn"
    for part; do
        case $part in
        api)
            packages+=(etcd-server)
            installed api <(declare -f build_inside build_kube install_api) "$top/t/k8s/kube/main.go" || api=(1)
            ;;
        conform)
            installed conform <(echo "$kustomize $kubeconform $kubernetes") "$top/t/k8s/schemas.py" || conform=(1)
            ;;
        cluster)
            packages+=("${packages_for_k8s[@]}")
            installed cluster <(declare -f build_inside build_kube install_{kube,coredns,skaffold,policies,ingress,pause,base}) \
                "$top/t/k8s/"{kube,coredns,pause}/*.go || cluster=(1)
            ;;
        esac
    done
    if ((${#conform[@]} + ${#api[@]} + ${#cluster[@]})); then
        command -v go >/dev/null || packages+=(golang-go)
    fi
    install_packages "${packages[@]}"
    if ((${#conform[@]} + ${#api[@]} + ${#cluster[@]})); then
        local go_scratch=$tools/k8s.tmp
        mkdir -p "$go_scratch"
        new_go
        if ((${#conform[@]})); then
            job "building kustomize and kubeconform" install_conform
        fi
        if ((${#api[@]})); then
            job "building Kubernetes' API server (three minutes)" install_api
        fi
        if ((${#cluster[@]})); then
            job "building a cluster: Kubernetes, CoreDNS, skaffold, ingress-nginx, kube-router (ten minutes)" install_cluster
        fi
        finish_jobs "not everything could be installed"
        rm -rf "$go_scratch"
    fi
    exec {turn}>&-
}

install_conform() {
    install_with_go "$kustomize"
    install_with_go "$kubeconform"
    install_schemas
    mark_installed conform <(echo "$kustomize $kubeconform $kubernetes") "$top/t/k8s/schemas.py"
}

install_cluster() {
    install_base
    install_pause
    install_kube
    install_coredns
    install_skaffold
    install_ingress
    install_policies
    mark_installed cluster <(declare -f build_inside build_kube install_{kube,coredns,skaffold,policies,ingress,pause,base}) \
        "$top/t/k8s/"{kube,coredns,pause}/*.go
}

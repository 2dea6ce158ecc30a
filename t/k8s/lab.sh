#!/usr/bin/env bash
# lab.sh: makes the cluster and proves what it should. check.sh starts it in process and mount namespaces of its own, so that all that
# it starts and mounts ends with it. dockerd alone uses this machine's network, for the packages that images are made of; the cluster
# has a network namespace to itself. Environment: top, tools, lab (the folder to work in), and what prove.sh wants.
# SPDX-License-Identifier: MIT
set -euo pipefail

: "${top:?}" "${tools:?}" "${lab:?}" "${python:?}"
export PATH=$lab/bin:$tools/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export DOCKER_HOST=unix://$lab/docker.sock DOCKER_BUILDKIT=1

mount --make-rshared / # as the kubelet wants it; ours is a mount namespace of its own
mkdir -p "$lab"/{bin,log,docker}
# What containerd, dockerd and the kubelet keep at paths of their own stays in here, too.
for folder in /run/{netns,containerd,docker} /var/lib/{cni,kubelet} /opt/containerd; do
    mkdir -p "$folder" "$lab/fixed$folder"
    mount --bind "$lab/fixed$folder" "$folder"
done
cat >"$lab/docker/daemon.json" <<J
{"data-root": "$lab/docker/data", "exec-root": "$lab/docker/exec", "pidfile": "$lab/docker/pid", "hosts": ["$DOCKER_HOST"],
 "storage-driver": "overlay2", "oom-score-adjust": 0, "features": {"buildkit": true},
 "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false}
J
# Builds go over this machine's network, as there is no bridge; skaffold too calls this. Debian's client does not know the --load that
# skaffold says, and does that anyway.
cat >"$lab/bin/docker" <<'J'
#!/bin/bash
[[ $1 != build ]] || set -- build --network=host "${@:2}"
for argument; do
    shift
    [[ $argument == --load ]] || set -- "$@" "$argument"
done
exec /usr/bin/docker "$@"
J
chmod +x "$lab/bin/docker"
rm -f "$lab/docker.sock" "$lab/docker/pid"
dockerd --config-file "$lab/docker/daemon.json" >"$lab/log/dockerd.log" 2>&1 &
until docker version >/dev/null 2>&1; do
    kill -0 $! || { tail "$lab/log/dockerd.log" >&2 && exit 1; }
    sleep 0.2
done
base=$(sed -n 's/^ARG DEBIAN=//p' "$top/Dockerfile")
docker image inspect "$base" >/dev/null 2>&1 || docker import "$tools/k8s/base.tar" "$base" >/dev/null

# Others' images.
context=$lab/images
rm -rf "$context"
mkdir -p "$context/bin"
cp -r "$top/t/k8s/images/." "$context/"
cp "$tools/bin/nats-streaming-server" "$tools/bin/nginx-ingress-controller" "$context/bin/"
cp -r "$tools/jars" "$context/jars"
javac -cp "$context/jars/*" -d "$context/jars" "$context/MongoPod.java"
cp -r "$tools/k8s/ingress-nginx" "$context/ingress-nginx"
cp -r "$top/t/k8s/ingress-nginx/resty" "$context/ingress-nginx/lua/"
"$python" "$top/t/k8s/ingress-nginx/patch-template.py" "$context/ingress-nginx/template/nginx.tmpl"
declare -A others=(
    [mongo]=$(sed -n 's/^ *image: \(mongo:.*\)/\1/p' "$top/k8s/overlays/local/auth-mongo.yaml")
    [nats]=$(sed -n 's/^ *image: \(nats-streaming:.*\)/\1/p' "$top/k8s/overlays/local/nats.yaml")
    [redis]=$(sed -n 's/^ *image: \(redis:.*\)/\1/p' "$top/k8s/base/redis.yaml")
    [ingress-nginx]=ingress-nginx:local
)
for target in "${!others[@]}"; do
    docker build -q --target "$target" -t "${others[$target]}" "$context" >"$lab/log/image-$target.log" 2>&1 || {
        tail "$lab/log/image-$target.log" >&2
        exit 1
    }
done
docker save "${others[@]}" -o "$lab/others.tar"

exec unshare --net -- "$top/t/k8s/prove.sh" "$@"

#!/usr/bin/env bash
# front.sh: takes the place of dev for tests whose stack is the cluster: the verbs of dev that they use, with kubectl.
# Environment: lab, services and what prove.sh put into $lab/stack.env.
# SPDX-License-Identifier: MIT
set -euo pipefail

: "${lab:?}" "${services:?}" "${tools:?}" "${top:?}"
read -r -a names <<<"$services"
export KUBECONFIG=$lab/admin.kubeconfig
# shellcheck disable=SC1091 # prove.sh's
. "$lab/stack.env"

address() { kubectl get service "$1" -o jsonpath='{.spec.clusterIP}'; }

# settled NAME...: rolled out, and of the pods before nothing is left that the ingress could still ask.
settled() {
    local name current
    for name; do
        kubectl rollout status "deployment/$name" --timeout=360s >/dev/null
        # Not the newest one: a setting that is taken back brings back the one before.
        current=$(kubectl get replicaset -l "app=$name" -o jsonpath='{.items[?(@.spec.replicas>0)].metadata.labels.pod-template-hash}')
        kubectl wait --for=delete pod -l "app=$name,pod-template-hash!=$current" --timeout=240s >/dev/null 2>&1 || true
    done
}

# window SECONDS NAME...: they get that EXPIRATION_WINDOW_SECONDS instead of config.env's ("": config.env's again); false when they have it.
window() {
    local seconds=$1 name changed=1
    shift
    for name; do
        [[ $(kubectl get "deployment/$name" \
            -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="EXPIRATION_WINDOW_SECONDS")].value}') != "$seconds" ]] || continue
        kubectl set env "deployment/$name" -c "$name" "EXPIRATION_WINDOW_SECONDS${seconds:+=}${seconds:--}" >/dev/null
        changed=0
    done
    return $changed
}

# Where a test looks for processes: those of one pod of each service.
processes() {
    local name pid
    mkdir -p "$lab/front/run"
    for name in "${names[@]}"; do
        pid=$(pgrep -nx "$name") || continue
        echo "$pid" >"$lab/front/run/$name.pid"
        ln -sfn "/proc/$pid/root/run/fcgi/service.sock" "$lab/front/run/$name.sock"
    done
}

# leader: the pod of the bus' leader, where the bus is a cluster.
leader() {
    local pod ip
    while read -r pod ip; do
        [[ $(curl -sS --max-time 5 "http://$ip:8222/streaming/serverz" | jq -r .role) != Leader ]] || echo "pod/$pod"
    done < <(kubectl get pods -l app=nats -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}')
}

# kind NAME: of what its pods are made by.
kind() {
    if [[ $1 == nats && $(kubectl get statefulset nats --ignore-not-found -o name) ]]; then echo statefulset; else echo deployment; fi
}

verb=${1:?}
name=${2-}
[[ $name != services ]] || name=$services
case $verb in
up)
    ! window "${EXPIRATION_WINDOW_SECONDS-}" "${names[@]}" || settled "${names[@]}"
    ;;
down) ;;
env)
    processes
    printf '%s=%q\n' BASE_URL https://ticketing.dev CA_CERT "$lab/pki/ca.crt" RUN_DIR "$lab/front/run" LOG_DIR "$lab/log" \
        JWT_KEY "$JWT_KEY" STRIPE_KEY "$STRIPE_KEY" STRIPE_WEBHOOK_SECRET "$STRIPE_WEBHOOK_SECRET" \
        STRIPE_API_BASE "http://$(address gateway):8000" NATS_URL "nats://$(address nats):4222" NATS_CLUSTER_ID marketplace \
        NATS_MONITOR_URL "http://$(address nats):8222" REDIS_URL "redis://$(address redis):6379" \
        MONGO_URI mongodb://127.0.0.1:27017 EXPIRATION_WINDOW_SECONDS "${EXPIRATION_WINDOW_SECONDS-900}" DEV_STATE "$lab" DEV_TOOLS "$tools"
    ;;
restart)
    # shellcheck disable=SC2086,SC2046 # names are words
    if ! window "${EXPIRATION_WINDOW_SECONDS-}" $name; then
        kubectl rollout restart deployment $name >/dev/null
    fi
    # shellcheck disable=SC2086
    settled $name
    processes
    ;;
kill)
    case $name in
    kubelet) kill -KILL "$(<"$lab/run/kubelet.pid")" ;;
    *)
        pod=$(kubectl get pods -l "app=$name" -o name | shuf -n 1)
        [[ $(kind "$name") == deployment ]] || pod=$(leader)
        kubectl delete --grace-period=0 --force "$pod" >/dev/null 2>&1
        ;;
    esac
    ;;
start)
    case $name in
    kubelet)
        # shellcheck disable=SC1091
        . "$top/t/k8s/cluster.sh"
        start_kubelet
        wait_for 180 'the kubelet' curl -fs --max-time 2 http://127.0.0.1:10248/healthz
        ;;
    *) kubectl rollout status "$(kind "$name")/$name" --timeout=360s >/dev/null ;;
    esac
    ;;
*)
    echo "front.sh: what is $verb?" >&2
    exit 2
    ;;
esac

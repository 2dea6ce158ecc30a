#!/usr/bin/env bash
# prove.sh: in the lab's own network namespace: makes the cluster, then one step after the other, each told as `ok` or `not ok`. Started
# by lab.sh. With `hold` as its argument it deploys, tells how to get in, and waits.
# Environment: top, tools, lab, python, services; src: a copy of the source tree to work in; build: a build of the tests.
# SPDX-License-Identifier: MIT
# shellcheck disable=SC1091,SC2154 # the variables are check.sh's and cluster.sh's
set -euo pipefail

. "$top/t/k8s/cluster.sh"
read -r -a names <<<"$services"
export lab services tools top SKAFFOLD_UPDATE_CHECK=false SKAFFOLD_INTERACTIVE=false SKAFFOLD_CONFIG=$lab/skaffold.config
skaffold=(skaffold --verbosity=warning --profile gateway)
claims=(auth-mongo stuff-mongo orders-mongo payments-mongo nats data-nats-{0..2} redis)
number=0 failed=0

# step TITLE FUNCTION: what it prints is shown when it fails. In the background, since after && or || the shell would not stop the
# function at its first error.
step() {
    local began=$SECONDS rc=0 log=$lab/log/$2.log
    number=$((number + 1))
    (
        set -e
        "$2"
    ) >"$log" 2>&1 </dev/null &
    wait $! || rc=$?
    if ((rc == 0)); then
        echo "ok $number - $1 ($((SECONDS - began)) s)"
        sed -n 's/^note: /   /p' "$log"
    else
        echo "not ok $number - $1 ($((SECONDS - began)) s)"
        tail -n 40 "$log" | sed 's/^/   | /'
        failed=$((failed + 1))
    fi
}

# --- what the steps do -----------------------------------------------------------------------------------------------------

edge() { curl -sS --max-time 10 --cacert "$pki/ca.crt" "$@"; }

claims_anew() {
    local name
    for name in "${claims[@]}"; do
        kubectl delete pv "$name" --ignore-not-found >/dev/null
        rm -rf "${lab:?}/volumes/$name"
        volume "$name"
    done
}

secrets() {
    local name=$1
    shift
    kubectl create secret "$name" "$@" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
}

with_secrets() {
    secrets generic jwt-secret --from-literal="JWT_KEY=$JWT_KEY"
    secrets generic stripe-secret --from-literal="STRIPE_KEY=$STRIPE_KEY" --from-literal="STRIPE_WEBHOOK_SECRET=$STRIPE_WEBHOOK_SECRET"
    secrets tls ticketing-tls --cert="$pki/ticketing.crt" --key="$pki/ticketing.key"
}

route_databases() {
    local name
    local -a servers=()
    if [[ -e $lab/run/mongo-router.pid ]]; then kill "$(<"$lab/run/mongo-router.pid")"; fi
    for name in auth stuff orders payments; do
        servers+=("$name=$(kubectl get service "$name-mongo" -o jsonpath='{.spec.clusterIP}')")
    done
    start mongo-router "$python" "$top/t/k8s/mongo-router.py" "${servers[@]}"
}

# The ingress knows a service's pods some moments after Kubernetes has found them ready.
answers() {
    local path
    [[ $(edge https://ticketing.dev/api/users/currentuser) == '{"currentUser":null}' ]] || return 1
    for path in / /api/stuff /api/orders /api/payments/sales /api/coupons; do
        [[ $(edge -o /dev/null -w '%{http_code}' "https://ticketing.dev$path") != 5* ]] || return 1
    done
}

dry_run() {
    local overlay profile
    for overlay in local local-gateway production; do
        kubectl kustomize "$src/k8s/overlays/$overlay" | kubectl apply --dry-run=server --validate=strict -f -
    done
    # And what skaffold makes of them, by each of its profiles.
    cd "$src"
    for profile in '' gateway production; do
        skaffold render --verbosity=warning --digest-source=none ${profile:+--profile "$profile"} --output "$lab/rendered.yaml"
        kubectl apply --dry-run=server --validate=strict -f "$lab/rendered.yaml"
    done
    # It can fail.
    if kubectl kustomize "$src/k8s/overlays/local" | sed 's/maxUnavailable: 0/maxUnavailible: 0/' |
        kubectl apply --dry-run=server --validate=strict -f -; then
        return 1
    fi
}

images() {
    local name base size began
    base=$(docker image inspect -f '{{.Size}}' "$(sed -n 's/^ARG DEBIAN=//p' "$src/Dockerfile")")
    for name in "${names[@]}" sidecar; do
        docker build -q --target "$name" -t "ticketing/$name" "$src"
        size=$((($(docker image inspect -f '{{.Size}}' "ticketing/$name") - base) / 1000000))
        echo "note: $name: $size MB above its base"
        ((size < 60))
        [[ $(docker image inspect -f '{{.Config.User}}' "ticketing/$name") == 10001:10001 ]]
        # shellcheck disable=SC2016 # it is expanded in there
        docker run --rm --network=host --entrypoint sh "ticketing/$name" -c \
            'for tool in cc gcc clang as ld make; do ! command -v "$tool" || exit 1; done'
        [[ $name != sidecar ]] || continue
        # Nothing has a setting by default that it should be given.
        if docker run --rm --network=host "ticketing/$name"; then return 1; else (($? == 78)); fi
    done
    began=$(date +%s%N)
    echo '/* touched */' >>"$src/fcgi/orders/routes.c"
    docker build -q --target orders -t ticketing/orders "$src"
    echo "note: orders was built again, after a change of one .c, in $((($(date +%s%N) - began) / 1000000)) ms"
}

run() {
    cd "$src"
    claims_anew
    with_secrets
    "${skaffold[@]}" run
    route_databases
    wait_for 90 'an answer through the ingress' answers
}

demo() {
    mkdir -p "$lab/front/t"
    cp "$top/t/demo.sh" "$lab/front/t/"
    bash "$lab/front/t/demo.sh"
}

lacks_secret() {
    kubectl get pods -l "app=$1" -o jsonpath='{.items[*].status.containerStatuses[*].state.waiting.reason}' | grep CreateContainerConfigError
}

# Whatever needs a secret does not start without, and what runs goes on.
secretless() {
    local name
    local -a needy=()
    for name in "${names[@]}"; do
        ! grep -q 'name: \(jwt\|stripe\)-secret' "$src/k8s/base/$name.yaml" || needy+=("$name")
    done
    echo "note: without secrets: ${needy[*]}"
    kubectl delete secret jwt-secret stripe-secret
    kubectl rollout restart deployment "${needy[@]}"
    for name in "${needy[@]}"; do
        wait_for 180 "$name to miss its secret" lacks_secret "$name"
    done
    answers
    with_secrets
    for name in "${needy[@]}"; do
        kubectl rollout status "deployment/$name" --timeout=360s
    done
}

# Its pages, with the forms in them, as the tests of the storefront use them on a local stack.
pages() {
    local part
    for part in 'what everyone sees' 'private pages' 'a purchase' selling uploads pictures 'forms of others'; do
        tests t/10-service/test-storefront "$part"
    done
}

# The programs in the cluster say of themselves what a build of the same source says.
described() {
    local part
    edge https://ticketing.dev/api/openapi.json | diff - "$build/openapi.json"
    for part in 'is described' 'a page'; do
        tests t/10-service/test-api "$part"
    done
}

# reaches POD PORT ADDRESS
reaches() { kubectl exec "deployment/$1" -c nginx -- timeout 3 bash -c "exec 3<>/dev/tcp/$3/$2"; }

cannot_reach() { ! reaches "$@"; }

denied() {
    local mine theirs
    mine=$(kubectl get service orders-mongo -o jsonpath='{.spec.clusterIP}')
    theirs=$(kubectl get service auth-mongo -o jsonpath='{.spec.clusterIP}')
    reaches orders 27017 "$mine"
    reaches expiration 6379 "$(kubectl get service redis -o jsonpath='{.spec.clusterIP}')"
    if reaches orders 27017 "$theirs"; then return 1; fi
    if reaches auth 27017 "$mine"; then return 1; fi
    if reaches auth 6379 "$(kubectl get service redis -o jsonpath='{.spec.clusterIP}')"; then return 1; fi
    if reaches auth 80 "$(kubectl get service orders -o jsonpath='{.spec.clusterIP}')"; then return 1; fi
    # The storefront asks the others as everybody does, and only so.
    reaches storefront 443 "$(kubectl -n ingress-nginx get service ingress-nginx-controller -o jsonpath='{.spec.clusterIP}')"
    if reaches storefront 80 "$(kubectl get service orders -o jsonpath='{.spec.clusterIP}')"; then return 1; fi
    if reaches storefront 27017 "$mine"; then return 1; fi
    if reaches storefront 4222 "$(kubectl get service nats -o jsonpath='{.spec.clusterIP}')"; then return 1; fi
    # It is the policies that deny it: with one more it is let through.
    kubectl apply -f - <<K
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: control}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [auth, orders-mongo]}]}
  policyTypes: [Ingress, Egress]
  ingress: [{}]
  egress: [{}]
K
    wait_for 90 'a policy that lets it through' reaches auth 27017 "$mine"
    kubectl delete networkpolicy control
    wait_for 90 'the policies alone again' cannot_reach auth 27017 "$mine"
}

unavailable() {
    [[ $(edge -w ' %{http_code}' https://ticketing.dev/api/stuff) == '{"errors":[{"message":"Service unavailable, please try again"}]} 503' ]]
}

unrouted() {
    local path
    for path in healthz readyz metrics; do
        [[ $(edge -o /dev/null -w '%{http_code}' "https://ticketing.dev/$path") == 404 ]]
    done
    [[ $(edge -o /dev/null -w '%{http_code}' http://ticketing.dev/api/users/currentuser) == 308 ]]
    [[ $(too_large) == '{"errors":[{"message":"Payload Too Large"}]} 413' ]]
    kubectl scale deployment/stuff --replicas=0
    wait_for 180 'what is said of a service without pods' unavailable
    kubectl scale deployment/stuff --replicas=1
    kubectl rollout status deployment/stuff --timeout=240s
}

# tests PROGRAM [PART]: with the cluster as its stack, through the ingress.
tests() {
    top_srcdir=$lab/front top_builddir=$build T_HTTPS=1 T_ROUNDS=${T_ROUNDS-20} SKIPS_AS_FAILS=1 DEV_TOOLS=$tools "$build/$1" "${@:2}" |
        tee "$lab/log/$(basename "$1").tap"
    [[ ${PIPESTATUS[0]} == 0 ]]
    sed -n 's/^ok/note: ok/p' "$lab/log/$(basename "$1").tap"
}

scaled() {
    kubectl scale deployment/orders deployment/payments --replicas=3
    kubectl rollout status deployment/orders --timeout=360s
    kubectl rollout status deployment/payments --timeout=360s
    tests t/90-race/test-buyers '64 buyers'
    tests t/90-race/test-buyers '8 payments'
    tests t/90-race/test-buyers 'removed and edited'
}

goes_on() { tests t/k8s/test-cluster; }

# Nothing is left, of any kind that we make, but the secrets that people made and what Kubernetes itself has in each namespace.
nothing_left() {
    local kinds=deployments,replicasets,statefulsets,jobs,pods,services,configmaps,persistentvolumeclaims,ingresses,networkpolicies
    kinds+=,poddisruptionbudgets,horizontalpodautoscalers
    wait_for 240 'everything to be gone' bash -c \
        "left=\$(kubectl get $kinds -o name) && ! grep -vxE 'service/kubernetes|configmap/kube-root-ca.crt' <<<\"\$left\""
}

of_three() { [[ $(kubectl get deployments -l tier=service -o jsonpath='{.items[*].status.readyReplicas}') =~ ^3( 3)*$ ]]; }

# What the members of the bus say that they are.
roles() {
    local ip
    for ip in $(kubectl get pods -l app=nats -o jsonpath='{.items[*].status.podIP}'); do
        curl -sS --max-time 5 "http://$ip:8222/streaming/serverz" | jq -r .role
    done | sort | uniq -c | xargs
}

has_leader() { [[ $(roles) == '2 Follower 1 Leader' ]]; }

# The production overlay, but for what one small node does not have: replica sets of MongoDB (see README.md), and processors for all
# that the services ask for.
production() {
    local overlay=$src/k8s/overlays/lab
    cp -r "$src/k8s/overlays/production" "$overlay"
    cp "$src"/k8s/overlays/local/*-mongo.yaml "$overlay/"
    sed -i 's/?replicaSet=[a-z]*//' "$overlay/kustomization.yaml"
    cat >>"$overlay/kustomization.yaml" <<K
  - target: {kind: Deployment, labelSelector: tier=service}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 5m}
      - {op: replace, path: /spec/template/spec/containers/1/resources/requests/cpu, value: 5m}
components:
  - ../../components/gateway
K
    cd "$src"
    sed 's|overlays/local-gateway|overlays/lab|' skaffold.yaml >skaffold-lab.yaml
    claims_anew
    "${skaffold[@]}" run --filename skaffold-lab.yaml
    route_databases
    wait_for 180 'a cluster of the bus' has_leader
    wait_for 90 'an answer through the ingress' answers
    # The autoscalers' least; there is no metrics-server to tell them of more.
    wait_for 480 'three of each service' of_three
    kubectl wait poddisruptionbudget --all --for=jsonpath='{.status.disruptionsAllowed}'=1 --timeout=180s
    tests t/k8s/test-cluster "NATS'"
    wait_for 120 'a leader again' has_leader
    "${skaffold[@]}" delete --filename skaffold-lab.yaml
    # A StatefulSet's claims outlive it.
    kubectl delete persistentvolumeclaims -l app=nats
    nothing_left
}

deleted() {
    cd "$src"
    "${skaffold[@]}" delete
    nothing_left
}

# too_large: what the sidecar says of a body that is.
too_large() {
    head -c 70000 /dev/zero | edge -w ' %{http_code}' --data-binary @- -H 'Content-Type: application/json' https://ticketing.dev/api/orders
}

# shows PATH TEXT
shows() { edge --compressed "https://ticketing.dev$1" | grep -qF "$2"; }

says() { [[ $(too_large) == *"$1"* ]]; }

image_of() { kubectl get "deployment/$1" -o jsonpath='{.spec.template.spec.containers[0].image}'; }

is_new() { [[ $(image_of orders) != "$1" ]] && kubectl rollout status deployment/orders --timeout=240s; }

# watched: how often skaffold dev was done with all changes so far. It knows nothing of a Dockerfile's targets, so a change that it copies
# to one image's pods has it build the others too, from the cache and to no effect; what changes meanwhile would be built and not copied.
watched() { grep -c 'Watching for changes' "$lab/log/skaffold-dev.log"; }

is_done() { (($(watched) > $1)); }

synced() {
    local pods began image times dev=$lab/log/skaffold-dev.log
    cd "$src"
    claims_anew
    "${skaffold[@]}" dev --trigger=notify >"$dev" 2>&1 &
    echo $! >"$lab/run/skaffold.pid"
    # Whatever fails, the next step finds nothing of it.
    trap 'kill -INT "$(<"$lab/run/skaffold.pid")" && wait' EXIT
    wait_for 600 'skaffold dev to deploy' grep -q 'Watching for changes' "$dev"
    wait_for 90 'an answer through the ingress' answers
    wait_for 90 "a service's log" grep -q '^\[orders\]' "$dev"

    # nginx's own words, without a new image or pod.
    pods=$(kubectl get pods -l tier=service -o name | sort)
    began=$(date +%s%N)
    times=$(watched)
    sed -i 's/"Payload Too Large"/"Payload Much Too Large"/' nginx/error-texts.conf
    wait_for 180 "the sidecars' new words" says 'Payload Much Too Large'
    echo "note: a file of nginx's configuration was in force after $((($(date +%s%N) - began) / 1000000)) ms"
    wait_for 240 'skaffold to be done' is_done "$times"
    [[ $(kubectl get pods -l tier=service -o name | sort) == "$pods" ]]

    # A page's template, and its style.
    began=$(date +%s%N)
    times=$(watched)
    sed -i 's/Good notes, /Fine notes, /' fcgi/storefront/templates/home.html
    wait_for 180 "the page's new words" shows / 'Fine notes, '
    echo "note: a template was in use after $((($(date +%s%N) - began) / 1000000)) ms"
    wait_for 240 'skaffold to be done' is_done "$times"
    began=$(date +%s%N)
    times=$(watched)
    echo '/* in style */' >>fcgi/storefront/static/shop.css
    wait_for 180 'the new style' shows /static/shop.css '/* in style */'
    echo "note: a style sheet was served after $((($(date +%s%N) - began) / 1000000)) ms"
    wait_for 240 'skaffold to be done' is_done "$times"
    [[ $(kubectl get pods -l tier=service -o name | sort) == "$pods" ]]

    # One service compiled anew, and no other's pods replaced.
    image=$(image_of orders)
    pods=$(kubectl get pods -l 'tier=service,app!=orders' -o name | sort)
    began=$(date +%s%N)
    sed -i 's/"Not your order"/"It is not your order"/' fcgi/orders/routes.c
    wait_for 480 'pods with the new program' is_new "$image"
    echo "note: a change of a .c file ran in its pods after $((($(date +%s%N) - began) / 1000000)) ms"
    [[ $(kubectl get pods -l 'tier=service,app!=orders' -o name | sort) == "$pods" ]]

    trap - EXIT
    kill -INT "$(<"$lab/run/skaffold.pid")"
    wait_for 300 'skaffold dev to clean up' gone "$(<"$lab/run/skaffold.pid")"
    nothing_left
}

gone() { ! kill -0 "$1"; }

# --- all of it -------------------------------------------------------------------------------------------------------------

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

JWT_KEY=$(random 48) STRIPE_KEY=sk_test_$(random 16) STRIPE_WEBHOOK_SECRET=whsec_$(random 24)
printf '%s=%q\n' JWT_KEY "$JWT_KEY" STRIPE_KEY "$STRIPE_KEY" STRIPE_WEBHOOK_SECRET "$STRIPE_WEBHOOK_SECRET" >"$lab/stack.env"
mkdir -p "$lab/front"
ln -sfn "$top/t/k8s/front.sh" "$lab/front/dev"
cp /etc/hosts "$lab/hosts"
echo "$node_ip ticketing.dev" >>"$lab/hosts"
mount --bind "$lab/hosts" /etc/hosts

cluster_up
import "$lab/others.tar"
ingress
echo "   the cluster is up ($SECONDS s)"
if [[ ${1-} == hold ]]; then
    run
    echo "   nsenter -t $$ -m -n -p; then KUBECONFIG=$KUBECONFIG; PATH=$PATH"
    sleep infinity
fi
step 'the API server takes all overlays (server-side dry run)' dry_run
step 'images: small, not root, without default secrets' images
step 'skaffold run: everything is there' run
step 'the demo, through ingress-nginx, unchanged' demo
step "the storefront's pages and forms, through ingress-nginx" pages
step 'the API, described by the programs that run' described
step 'without secrets nothing starts' secretless
step 'NetworkPolicies deny what they should' denied
step 'probes are not routed; errors have our shape' unrouted
step 'three of orders and payments: no rule is broken' scaled
step 'restarts, kills, deleted servers amid trade' goes_on
step 'skaffold delete leaves nothing' deleted
step 'skaffold dev syncs, rebuilds, and leaves nothing' synced
step "the production overlay, without MongoDB's replica sets; the bus loses its leader" production
echo "$((number - failed)) passed, $failed failed"
((failed == 0))

# shellcheck shell=bash
# shellcheck disable=SC2154 # lab and tools are lab.sh's
# SPDX-License-Identifier: MIT
# Sourced by prove.sh: one real node, with its control plane, in the network namespace that we are in. Addresses and ports are fixed:
# nobody else is here.

node_ip=10.240.0.1 # on a bridge: the API server and the kubelet refuse loopback
pod_cidr=10.244.0.0/24
service_cidr=10.96.0.0/16
pki=$lab/pki
export KUBECONFIG=$lab/admin.kubeconfig
ctr=(ctr -a "$lab/containerd/containerd.sock" -n k8s.io)

# start NAME COMMAND...: in the background, its output in a log.
start() {
    local name=$1
    shift
    "$@" >>"$lab/log/$name.log" 2>&1 </dev/null &
    echo $! >"$lab/run/$name.pid"
}

# wait_for SECONDS WHAT COMMAND...: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || {
            echo "not in time: $what" >&2
            return 1
        }
        sleep 0.2
    done
}

# certificate NAME SUBJECT [SAN]
certificate() {
    openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$pki/$1.key" -out "$pki/$1.csr" 2>/dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -out "$pki/$1.crt" \
        -extfile <(
            printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n'
            [[ ! ${3-} ]] || echo "subjectAltName=$3"
        ) 2>/dev/null
}

certificates() {
    local name
    mkdir -p "$pki"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=lab -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
    openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
    openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
    name=DNS:kubernetes.default.svc
    certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,$name,$name.cluster.local,IP:$node_ip,IP:10.96.0.1"
    certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$node_ip"
    certificate admin /O=system:masters/CN=admin
    certificate apiclient /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate controller-manager /CN=system:kube-controller-manager
    certificate scheduler /CN=system:kube-scheduler
    certificate proxy /O=system:node-proxier/CN=system:kube-proxy
    certificate ticketing /CN=ticketing.dev DNS:ticketing.dev
    for name in admin kubelet controller-manager scheduler proxy; do
        # Named kind-*, so that skaffold gives images to the node (see kind below) and to no registry.
        cat >"$lab/$name.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$node_ip:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: $name, user: {client-certificate: $pki/$name.crt, client-key: $pki/$name.key}}]
contexts: [{name: kind-lab, context: {cluster: lab, user: $name}}]
current-context: kind-lab
K
    done
}

control_plane() {
    local etcd=http://127.0.0.1:12379
    start etcd etcd --name e --data-dir "$lab/etcd" --listen-client-urls $etcd --advertise-client-urls $etcd \
        --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
        --initial-cluster e=http://127.0.0.1:12380
    start kube-apiserver kube-apiserver --etcd-servers $etcd --bind-address $node_ip --advertise-address $node_ip \
        --service-cluster-ip-range $service_cidr --service-node-port-range 80-32767 --allow-privileged \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --client-ca-file "$pki/ca.crt" \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-client-certificate "$pki/apiclient.crt" \
        --kubelet-client-key "$pki/apiclient.key" --kubelet-preferred-address-types InternalIP \
        --service-account-issuer https://kubernetes.default.svc.cluster.local --service-account-key-file "$pki/sa.pub" \
        --service-account-signing-key-file "$pki/sa.key"
    wait_for 240 'the API server' kubectl get --raw /readyz
    start kube-controller-manager kube-controller-manager --kubeconfig "$lab/controller-manager.kubeconfig" \
        --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --use-service-account-credentials \
        --leader-elect=false --cluster-cidr $pod_cidr --allocate-node-cidrs=false --bind-address 127.0.0.1
    start kube-scheduler kube-scheduler --kubeconfig "$lab/scheduler.kubeconfig" --leader-elect=false --bind-address 127.0.0.1
    wait_for 180 'the default service account' kubectl get serviceaccount default
}

# import NAME.tar: images into the node.
import() { "${ctr[@]}" images import "$1" >/dev/null; }

pause_image() {
    local work=$lab/pause sum
    mkdir -p "$work"
    cp "$tools/bin/pause" "$work/"
    tar -C "$work" -cf "$work/layer.tar" pause
    sum=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
    printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$sum" >"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["localhost/pause:1"],"Layers":["layer.tar"]}]' >"$work/manifest.json"
    tar -C "$work" -cf "$lab/pause.tar" manifest.json config.json layer.tar
    import "$lab/pause.tar"
}

start_kubelet() {
    start kubelet kubelet --config "$lab/kubelet.yaml" --kubeconfig "$lab/kubelet.kubeconfig" --hostname-override node1 \
        --node-ip $node_ip --root-dir "$lab/kubelet" --cert-dir "$lab/kubelet/pki"
}

node() {
    mkdir -p "$lab"/{cni,containerd,kubelet,manifests,volumes}
    cat >"$lab/cni/10-bridge.conflist" <<K
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$lab/cni/data", "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
K
    # Without CAP_SYS_RESOURCE a negative oom_score_adj is refused.
    cat >"$lab/containerd.toml" <<K
version = 2
root = "$lab/containerd/root"
state = "$lab/containerd/state"
oom_score = 0
[grpc]
  address = "$lab/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$lab/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
K
    cat >"$lab/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
address: $node_ip
cgroupDriver: cgroupfs
failSwapOn: false
containerRuntimeEndpoint: unix://$lab/containerd/containerd.sock
clusterDomain: cluster.local
clusterDNS: [$node_ip]
resolvConf: $lab/resolv.conf
staticPodPath: $lab/manifests
volumePluginDir: $lab/kubelet/volumeplugins
podLogsDir: $lab/log/pods
oomScoreAdj: 0
maxPods: 110
evictionHard: {memory.available: 100Mi, nodefs.available: 2%, imagefs.available: 2%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
K
    echo "nameserver $node_ip" >"$lab/resolv.conf"
    cat >"$lab/proxy.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $lab/proxy.kubeconfig}
mode: iptables
clusterCIDR: $pod_cidr
hostnameOverride: node1
oomScoreAdj: 0
conntrack: {maxPerCore: 0}
iptables: {minSyncPeriod: 200ms}
K
    start containerd containerd -c "$lab/containerd.toml"
    wait_for 90 containerd "${ctr[@]}" version
    pause_image
    start_kubelet
    start kube-proxy kube-proxy --config "$lab/proxy.yaml"
    wait_for 180 'the node' kubectl get node node1
    kubectl patch node node1 -p "{\"spec\":{\"podCIDR\":\"$pod_cidr\"}}" >/dev/null
    kubectl wait --for=condition=Ready node/node1 --timeout=270s >/dev/null
}

dns() {
    cat >"$lab/Corefile" <<K
cluster.local:53 {
    bind $node_ip
    errors
    cache 5
    kubernetes cluster.local {
        kubeconfig $lab/admin.kubeconfig kind-lab
    }
}
K
    start coredns coredns -conf "$lab/Corefile"
}

# What a node's network plugin enforces. It uses no more of kube-router than its firewall.
policies() {
    start kube-router kube-router --kubeconfig "$lab/admin.kubeconfig" --hostname-override node1 --run-router=false \
        --run-service-proxy=false --run-firewall=true --service-cluster-ip-range $service_cidr --service-external-ip-range $node_ip/32 \
        --service-node-port-range 80-32767 --iptables-sync-period 5m
}

# Upstream's own manifest, but for its admission webhook, with our image, at the node's ports 80 and 443.
ingress() {
    local work=$lab/ingress-nginx
    mkdir -p "$work"
    cp "$tools/k8s/ingress-nginx/deploy.yaml" "$top/t/k8s/ingress-nginx/kustomization.yaml" "$work/"
    kubectl kustomize "$work" >"$work/all.yaml"
    kubectl apply -f "$work/all.yaml" >/dev/null
    kubectl -n ingress-nginx rollout status deployment/ingress-nginx-controller --timeout=240s >/dev/null
}

# volume NAME: for the claim of that name.
volume() {
    mkdir -p "$lab/volumes/$1"
    chmod 777 "$lab/volumes/$1"
    kubectl apply -f - >/dev/null <<K
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 50Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: $lab/volumes/$1}
  claimRef: {namespace: default, name: $1}
K
}

network() {
    ip link set lo up
    ip link add node type bridge
    ip addr add $node_ip/32 dev node
    ip link set node up
    ip route add default via $node_ip dev node # so that there is a way to the addresses of Services
    sysctl -qw net.ipv4.ip_forward=1
    sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
}

cluster_up() {
    mkdir -p "$lab/run"
    network
    certificates
    control_plane
    node
    dns
    policies
    cat >"$lab/bin/kind" <<K
#!/bin/sh
# What skaffold asks of kind where the context is called kind-*.
case "\$1 \$2" in
"load docker-image") shift 4 && docker save "\$@" | ctr -a "$lab/containerd/containerd.sock" -n k8s.io images import - ;;
"get clusters") echo lab ;;
*) exit 1 ;;
esac
K
    chmod +x "$lab/bin/kind"
}

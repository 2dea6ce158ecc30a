//go:build !api

// What a cluster has besides its API server.
package main

import (
	"github.com/spf13/cobra"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func init() {
	commands["kube-controller-manager"] = kcm.NewControllerManagerCommand
	commands["kube-scheduler"] = func() *cobra.Command { return scheduler.NewSchedulerCommand() }
	commands["kubelet"] = func() *cobra.Command { return kubelet.NewKubeletCommand() }
	commands["kube-proxy"] = proxy.NewProxyCommand
}

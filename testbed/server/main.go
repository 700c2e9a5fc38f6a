// Testbed-server is a Kubernetes control plane in one file: its first argument names the program to run.
//
//	testbed-server etcd|kube-apiserver|kube-controller-manager|kube-scheduler [flags]
//
// One binary instead of four shares the code they have in common: a quarter of the disk and of the link time.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	// Registers the JSON log format and the client and work queue metrics, as the four programs do.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

func main() {
	programs := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllermanager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	}
	if len(os.Args) < 2 {
		fail("no program named")
	}
	name, args := os.Args[1], os.Args[2:]
	if name == "etcd" {
		etcdmain.Main(append([]string{name}, args...))
		return
	}
	program, known := programs[name]
	if !known {
		fail(fmt.Sprintf("unknown program %q", name))
	}
	os.Args = append([]string{name}, args...)
	os.Exit(cli.Run(program()))
}

func fail(message string) {
	fmt.Fprintf(os.Stderr, "testbed-server: %s; "+
		"use etcd, kube-apiserver, kube-controller-manager or kube-scheduler\n", message)
	os.Exit(2)
}

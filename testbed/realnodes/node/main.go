// Testbed-node is what a real node of the test bed runs: its first argument names the program.
//
//	testbed-node kubelet|device-plugin [flags]
//
// It is a module of its own beside the control plane's, so that those who need no real nodes never build it.
package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	// Registers the JSON log format and the client metrics, as the kubelet's own main does.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

func main() {
	if len(os.Args) < 2 {
		fail("no program named")
	}
	name, args := os.Args[1], os.Args[2:]
	os.Args = append([]string{name}, args...)
	switch name {
	case "kubelet":
		os.Exit(cli.Run(kubelet.NewKubeletCommand(context.Background())))
	case "device-plugin":
		if err := runDevicePlugin(args); err != nil {
			fail(err.Error())
		}
	default:
		fail(fmt.Sprintf("unknown program %q", name))
	}
}

func fail(message string) {
	fmt.Fprintf(os.Stderr, "testbed-node: %s; use kubelet or device-plugin\n", message)
	os.Exit(2)
}

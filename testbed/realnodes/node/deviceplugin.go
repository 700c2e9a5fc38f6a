package main

import (
	"context"
	"flag"
	"fmt"
	"path"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	plugin "k8s.io/kubernetes/pkg/kubelet/cm/devicemanager/plugin/v1beta1"
)

// A devicePlugin advertises cards that do not exist. The container is told by a variable which it got, as the vendors'
// plugins do where a container runtime of theirs puts the device files in.
type devicePlugin struct {
	device    string // of a device's id: Ascend910 in Ascend910-3
	variable  string
	cards     int
	annotated *annotatedPods // nil: the kubelet's choice of devices counts
}

func runDevicePlugin(args []string) error {
	flags := flag.NewFlagSet("device-plugin", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "credentials of the node")
	node := flags.String("node", "", "name of the node")
	resource := flags.String("resource", "", "what to advertise, such as huawei.com/Ascend910")
	cards := flags.Int("cards", 0, "how many")
	variable := flags.String("variable", "", "the variable that tells a container its cards")
	annotation := flags.Bool("annotation", false, "follow the protocol of Ascend's plugin: the pod's annotation chooses")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, logger := context.Background(), klog.Background()
	served := &devicePlugin{device: path.Base(*resource), variable: *variable, cards: *cards}
	if *annotation {
		config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
		if err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		served.annotated = &annotatedPods{client: client.CoreV1(), node: *node, key: *resource}
	}
	devices := make([]*pluginapi.Device, *cards)
	for index := range devices {
		devices[index] = &pluginapi.Device{ID: served.id(index), Health: pluginapi.Healthy}
	}
	socket := pluginapi.DevicePluginPath + served.device + ".sock"
	stub := plugin.NewDevicePluginStub(logger, devices, socket, *resource, false, false)
	stub.SetAllocFunc(served.allocate)
	if err := stub.Start(ctx); err != nil {
		return fmt.Errorf("cannot serve on %s: %w", socket, err)
	}
	if err := registered(ctx, stub, *resource); err != nil {
		return err
	}
	stub.Watch(ctx, pluginapi.KubeletSocket, *resource, pluginapi.DevicePluginPath)
	return nil
}

func registered(ctx context.Context, stub *plugin.Stub, resource string) error {
	var err error
	for range 10 { // the kubelet may not listen yet; one attempt waits for ten seconds
		if err = stub.Register(ctx, pluginapi.KubeletSocket, resource, pluginapi.DevicePluginPath); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the kubelet does not take %s: %w", resource, err)
}

func (p *devicePlugin) id(index int) string {
	return fmt.Sprintf("%s-%d", p.device, index)
}

// allocate answers the kubelet for the containers of one pod.
func (p *devicePlugin) allocate(
	request *pluginapi.AllocateRequest, known map[string]*pluginapi.Device,
) (*pluginapi.AllocateResponse, error) {
	response := &pluginapi.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		devices := container.DevicesIds
		// Of a whole node there is nothing to choose; the vendor's plugin then does not look for an annotation either.
		if p.annotated != nil && len(devices) < p.cards {
			chosen, err := p.annotated.next(len(devices))
			if err != nil {
				return nil, err
			}
			devices = chosen
		}
		indices := make([]string, len(devices))
		for position, device := range devices {
			if _, exists := known[device]; !exists {
				return nil, fmt.Errorf("there is no device %s", device)
			}
			indices[position] = strings.TrimPrefix(device, p.device+"-")
		}
		klog.InfoS("Allocated", "kubelet", container.DevicesIds, "given", devices)
		response.ContainerResponses = append(response.ContainerResponses, &pluginapi.ContainerAllocateResponse{
			Envs: map[string]string{p.variable: strings.Join(indices, ",")},
		})
	}
	return response, nil
}

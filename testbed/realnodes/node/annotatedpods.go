package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	predicateTime = "predicate-time"
	// A pod whose time is the largest number has its cards already.
	served = uint64(math.MaxUint64)

	searches = 3
	between  = time.Second
)

// annotatedPods is the protocol between Ascend's device plugin and a scheduler (Ascend/mind-cluster, component/
// ascend-device-plugin/pkg/server/plugin.go). The kubelet does not say which pod it asks for, so the plugin takes the
// pod of the node that lists as many devices as are asked for and has the earliest predicate-time, and marks it.
type annotatedPods struct {
	client typedcorev1.CoreV1Interface
	node   string
	key    string // the annotation with the devices, named like the resource
}

// next gives the devices of the pod whose turn it is.
func (a *annotatedPods) next(count int) ([]string, error) {
	ctx := context.Background()
	for search := range searches {
		if search > 0 {
			time.Sleep(between)
		}
		pod, err := a.oldest(ctx, count)
		if err != nil {
			return nil, err
		}
		if pod != nil {
			return strings.Split(pod.Annotations[a.key], ","), a.mark(ctx, pod)
		}
	}
	return nil, fmt.Errorf("no pod of node %s lists %d devices in its annotation %s", a.node, count, a.key)
}

func (a *annotatedPods) oldest(ctx context.Context, count int) (*corev1.Pod, error) {
	here := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", a.node).String()}
	pods, err := a.client.Pods(metav1.NamespaceAll).List(ctx, here)
	if err != nil {
		return nil, err
	}
	var oldest *corev1.Pod
	earliest := served
	for index := range pods.Items {
		pod := &pods.Items[index]
		devices, listed := pod.Annotations[a.key]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if !listed || ended || len(strings.Split(devices, ",")) != count {
			continue
		}
		since, err := strconv.ParseUint(pod.Annotations[predicateTime], 10, 64)
		if err == nil && since < earliest {
			oldest, earliest = pod, since
		}
	}
	return oldest, nil
}

func (a *annotatedPods) mark(ctx context.Context, pod *corev1.Pod) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, predicateTime, served)
	_, err := a.client.Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

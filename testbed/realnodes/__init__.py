"""Real nodes beside a bed's played ones: kubelet, containerd and runc of their own, pods that really run.

    nodes = [RealNode("real-0"), RealNode("real-1")]
    with bed.start() as running, cluster.start(running, nodes, cluster.machine(print)) as nodes:
        ...  # apply jobs; nodes.logs(namespace, pod)

needs      what the machine must have, and how it gets it
images     the image of pods, made from a distribution base
node       one node: a private mount and process namespace that ends with its first process
network    the bridge and the addresses
dns        names of pods, from the EndpointSlices
devices    resources that a device plugin advertises, and the variable that tells containers their cards
remains    what outlives processes and folders, and its removal
cluster    all of it together
"""

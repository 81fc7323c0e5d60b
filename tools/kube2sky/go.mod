module kubernetes-mesos/kube2sky

go 1.26.0

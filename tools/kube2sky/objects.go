package main

// The parts of Kubernetes' objects that matter for DNS.

type meta struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
	Version   string            `json:"resourceVersion"`
}

type service struct {
	Metadata meta `json:"metadata"`
	Spec     struct {
		Type            string        `json:"type"`
		ClusterIP       string        `json:"clusterIP"`
		ClusterIPs      []string      `json:"clusterIPs"`
		ExternalName    string        `json:"externalName"`
		Ports           []servicePort `json:"ports"`
		PublishNotReady bool          `json:"publishNotReadyAddresses"`
	} `json:"spec"`
}

type servicePort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
}

type endpointSlice struct {
	Metadata  meta           `json:"metadata"`
	Endpoints []endpoint     `json:"endpoints"`
	Ports     []endpointPort `json:"ports"`
}

type endpoint struct {
	Addresses  []string `json:"addresses"`
	Hostname   string   `json:"hostname"`
	Conditions struct {
		// Ready is true when it is absent, says the API.
		Ready *bool `json:"ready"`
	} `json:"conditions"`
}

type endpointPort struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     int    `json:"port"`
}

func (s service) metadata() meta       { return s.Metadata }
func (s endpointSlice) metadata() meta { return s.Metadata }

// name is the object's name in the whole cluster.
func (m meta) name() string { return m.Namespace + "/" + m.Name }

// owner is the name of the service that a slice belongs to.
func (s endpointSlice) owner() string {
	return s.Metadata.Namespace + "/" + s.Metadata.Labels["kubernetes.io/service-name"]
}

func (e endpoint) isReady() bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }

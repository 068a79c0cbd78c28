module interop.local/consul

go 1.25.9

tool github.com/hashicorp/consul

require (
	github.com/hashicorp/consul v1.22.7
	// Consul's own requirement of its api module is too old to compile it.
	github.com/hashicorp/consul/api v1.34.1
)

exclude github.com/hashicorp/go-msgpack v1.1.5

exclude github.com/hashicorp/go-msgpack v1.1.6

package edge

import (
	"fmt"
	"os"
)

// environment says who this module is, and where its hub and its workload API are.
type environment struct {
	hub, gateway, device, module, generation, workloadURI, apiVersion string
}

func readEnvironment() (environment, error) {
	var self environment
	for name, place := range map[string]*string{
		"IOTEDGE_IOTHUBHOSTNAME":     &self.hub,
		"IOTEDGE_GATEWAYHOSTNAME":    &self.gateway,
		"IOTEDGE_DEVICEID":           &self.device,
		"IOTEDGE_MODULEID":           &self.module,
		"IOTEDGE_MODULEGENERATIONID": &self.generation,
		"IOTEDGE_WORKLOADURI":        &self.workloadURI,
		"IOTEDGE_APIVERSION":         &self.apiVersion,
	} {
		if *place = os.Getenv(name); *place == "" {
			return self, fmt.Errorf(
				"%s is not set: this program runs as a module, started by an edge runtime or by `edgectl sim up`", name)
		}
	}
	return self, nil
}

// clientID is the MQTT client identifier.
func (e environment) clientID() string {
	return e.device + "/" + e.module
}

// userName is the MQTT user name. Its host is the cloud hub's, although the edge hub is spoken to.
func (e environment) userName() string {
	return e.hub + "/" + e.clientID() + "/?api-version=2021-04-12&DeviceClientType=edgectl-module-go"
}

// topics is what the module's own topics start with.
func (e environment) topics() string {
	return "devices/" + e.device + "/modules/" + e.module
}

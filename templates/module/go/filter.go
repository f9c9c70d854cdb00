package main

// What the module does with a message. No network here: this is the part to change, and to test.

import (
	"encoding/json"
	"log"
	"strings"

	"edge-module/edge"
)

const defaultThreshold = 25.0

// Filter lets through messages whose machine temperature is above a threshold.
type Filter struct {
	Threshold float64
}

// NewFilter makes a filter with the default threshold.
func NewFilter() Filter {
	return Filter{Threshold: defaultThreshold}
}

// Configure takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it.
func (f *Filter) Configure(desired map[string]any) {
	value, isThere := desired["TemperatureThreshold"]
	if !isThere {
		return
	}
	switch value := value.(type) {
	case nil:
		f.Threshold = defaultThreshold
	case float64:
		f.Threshold = value
	default:
		log.Printf("TemperatureThreshold must be a number, not %v: it stays at %g", value, f.Threshold)
	}
}

// Alert makes the alert for a message; false if it is not above the threshold.
func (f *Filter) Alert(message edge.Message) (edge.Message, bool) {
	if !json.Valid(message.Body) {
		log.Print("a message that is not JSON was dropped")
		return edge.Message{}, false
	}
	var body struct {
		Machine struct {
			Temperature *float64 `json:"temperature"`
		} `json:"machine"`
	}
	// What is JSON of another form has no temperature.
	if err := json.Unmarshal(message.Body, &body); err != nil || body.Machine.Temperature == nil {
		return edge.Message{}, false
	}
	if *body.Machine.Temperature <= f.Threshold {
		return edge.Message{}, false
	}
	alert := message
	alert.Properties = map[string]string{"MessageType": "Alert"}
	for key, value := range message.Properties {
		// Those whose names start with "$." were set by the hub, and only it may set them.
		if !strings.HasPrefix(key, "$.") {
			alert.Properties[key] = value
		}
	}
	return alert, true
}

// A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
// property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os/signal"
	"syscall"

	"edge-module/edge"
)

// module connects the filter with the edge hub. Its methods are called one after another.
type module struct {
	client *edge.Client
	filter Filter
}

// OnMessage filters one message. The hub keeps it until this returns without error, so none is lost in a crash.
func (m *module) OnMessage(ctx context.Context, input string, message edge.Message) error {
	if input != "input1" {
		log.Printf("nothing is expected on input %s", input)
		return nil
	}
	alert, isAlert := m.filter.Alert(message)
	if !isAlert {
		return nil
	}
	if err := m.client.Send(ctx, "output1", alert); err != nil {
		return err
	}
	log.Printf("alert: %s", alert.Body)
	return nil
}

// OnDesired takes over the desired properties, and reports what is in force now.
func (m *module) OnDesired(ctx context.Context, desired map[string]any, isWhole bool) error {
	if isWhole {
		m.filter = NewFilter()
	}
	m.filter.Configure(desired)
	log.Printf("threshold: %g", m.filter.Threshold)
	return m.client.Report(ctx, map[string]any{"TemperatureThreshold": m.filter.Threshold})
}

// OnMethod answers direct methods.
func (m *module) OnMethod(_ context.Context, name string, _ json.RawMessage) (status int, answer any) {
	status, answer = 404, map[string]any{"error": "there is no method " + name}
	if name == "threshold" {
		status, answer = 200, map[string]any{"TemperatureThreshold": m.filter.Threshold}
	}
	log.Printf("method %s: %d", name, status)
	return status, answer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	client, err := edge.Open(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client.Run(ctx, &module{client: client, filter: NewFilter()})
	log.Print("asked to stop")
}

package main

// Run with `go test ./...`.

import (
	"fmt"
	"reflect"
	"testing"

	"edge-module/edge"
)

func reading(temperature string) edge.Message {
	return edge.Message{
		Body:        []byte(fmt.Sprintf(`{"machine":{"temperature":%s}}`, temperature)),
		ContentType: "application/json",
		Properties:  map[string]string{"sequenceNumber": "7", "$.cdid": "device"},
	}
}

func TestHotMessagesBecomeAlertsAndKeepTheirProperties(t *testing.T) {
	filter := NewFilter()
	alert, isAlert := filter.Alert(reading("25.1"))
	expected := reading("25.1")
	expected.Properties = map[string]string{"sequenceNumber": "7", "MessageType": "Alert"}
	if !isAlert || !reflect.DeepEqual(alert, expected) {
		t.Errorf("%v: %+v", isAlert, alert)
	}
}

func TestOtherMessagesAreDropped(t *testing.T) {
	filter := NewFilter()
	messages := []edge.Message{reading("25"), reading("-3"), reading(`"hot"`), reading("null")}
	for _, body := range []string{"[1]", "null", "{}", "not JSON"} {
		messages = append(messages, edge.Message{Body: []byte(body)})
	}
	for _, message := range messages {
		if _, isAlert := filter.Alert(message); isAlert {
			t.Errorf("%s is no alert", message.Body)
		}
	}
}

func TestTheThresholdComesFromTheDesiredProperties(t *testing.T) {
	filter := NewFilter()
	filter.Configure(map[string]any{"TemperatureThreshold": 30.0})
	if _, isAlert := filter.Alert(reading("29")); isAlert {
		t.Error("29 is below 30")
	}
	filter.Configure(map[string]any{"TemperatureThreshold": "warm", "$version": 2.0})
	filter.Configure(map[string]any{"$version": 3.0})
	if filter.Threshold != 30 {
		t.Errorf("it stays at 30, and is not %g", filter.Threshold)
	}
	filter.Configure(map[string]any{"TemperatureThreshold": nil})
	if filter.Threshold != defaultThreshold {
		t.Errorf("it is the default again, and not %g", filter.Threshold)
	}
}

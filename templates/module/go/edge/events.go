package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"strconv"
	"strings"
)

func topicOfTwin(request uint64) string {
	return fmt.Sprintf("$iothub/twin/GET/?$rid=%d", request)
}

func topicOfReport(request uint64) string {
	return fmt.Sprintf("$iothub/twin/PATCH/properties/reported/?$rid=%d", request)
}

// handle hands what arrives to the module, one after another, and tells the hub when it is done with it.
func (c *Client) handle(ctx context.Context, link *connection, handler Handler, events <-chan publication) {
	for event := range events {
		if ctx.Err() != nil {
			return
		}
		if err := c.handleOne(ctx, handler, event); err != nil {
			// Not acknowledged, it comes again with the next connection.
			log.Printf("%s: %v", event.topic, err)
			continue
		}
		if event.id != 0 {
			// Where this fails the connection is lost, and the message comes again.
			_ = link.write(acknowledge(event.id))
		}
	}
}

func (c *Client) handleOne(ctx context.Context, handler Handler, event publication) error {
	if rest, isInput := after(event.topic, c.environment.topics()+"/inputs/"); isInput {
		input, bag, _ := strings.Cut(rest, "/")
		return handler.OnMessage(ctx, decode(input), readMessage(bag, event.body))
	}
	if rest, isMethod := after(event.topic, "$iothub/methods/POST/"); isMethod {
		name, query, _ := strings.Cut(rest, "/?")
		status, answer := handler.OnMethod(ctx, decode(name), event.body)
		body, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		return c.publish(ctx, fmt.Sprintf("$iothub/methods/res/%d/?$rid=%s", status, parameter(query, "$rid")), body)
	}
	if rest, isAnswer := after(event.topic, "$iothub/twin/res/"); isAnswer {
		return c.onTwinAnswer(ctx, handler, rest, event.body)
	}
	if _, isPatch := after(event.topic, "$iothub/twin/PATCH/properties/desired/"); isPatch {
		var patch map[string]any
		if err := json.Unmarshal(event.body, &patch); err != nil {
			return err
		}
		return handler.OnDesired(ctx, patch, false)
	}
	log.Printf("nothing is known about the topic %s", event.topic)
	return nil
}

func (c *Client) onTwinAnswer(ctx context.Context, handler Handler, rest string, body []byte) error {
	status, query, _ := strings.Cut(rest, "/?")
	if code, err := strconv.Atoi(status); err != nil || code >= 300 {
		log.Printf("the hub answered a request about the twin with status %s: %s", status, body)
		return nil
	}
	request, err := strconv.ParseUint(parameter(query, "$rid"), 10, 64)
	c.lock.Lock()
	isTwin := err == nil && request == c.twin
	c.lock.Unlock()
	if !isTwin {
		return nil
	}
	var twin struct {
		Desired map[string]any `json:"desired"`
	}
	if err := json.Unmarshal(body, &twin); err != nil {
		return err
	}
	return handler.OnDesired(ctx, twin.Desired, true)
}

func after(text, start string) (string, bool) {
	return strings.TrimPrefix(text, start), strings.HasPrefix(text, start)
}

func parameter(query, name string) string {
	for _, pair := range strings.Split(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name || key == url.QueryEscape(name) {
			return value
		}
	}
	return ""
}

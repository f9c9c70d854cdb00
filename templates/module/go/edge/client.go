// Package edge is a client of the edge hub: what a module needs of it, over MQTT, with nothing but the standard
// library.
package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log"
	"sync"
	"time"
)

const (
	tokenLasts    = time.Hour
	renewBefore   = 5 * time.Minute
	lastRetry     = 10 * time.Second
	eventsWaiting = 256
)

// Handler does what a module does with what the hub has for it. Its methods are called one after another.
type Handler interface {
	// OnMessage takes a message on an input. The hub keeps it until this returns without an error.
	OnMessage(ctx context.Context, input string, message Message) error
	// OnDesired takes the desired properties: all of them after connecting, then patches.
	OnDesired(ctx context.Context, desired map[string]any, isWhole bool) error
	// OnMethod answers a direct method.
	OnMethod(ctx context.Context, name string, payload json.RawMessage) (status int, answer any)
}

// Client is a connection with the edge hub that comes back by itself.
type Client struct {
	environment environment
	trusted     *x509.CertPool

	lock       sync.Mutex
	connection *connection
	next       uint16
	unsettled  map[uint16]*unsettled
	twin       uint64
	requests   uint64
}

// unsettled is a publication that the hub does not have for certain.
type unsettled struct {
	packet packet
	done   chan struct{}
}

// Open reads who the module is from the environment, and asks whom to trust.
func Open(ctx context.Context) (*Client, error) {
	self, err := readEnvironment()
	if err != nil {
		return nil, err
	}
	bundle, err := self.trustBundle(ctx)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(bundle)) {
		return nil, errors.New("the trust bundle has no certificate")
	}
	return &Client{environment: self, trusted: trusted, unsettled: map[uint16]*unsettled{}}, nil
}

// Run serves the module until the context is done; it connects again whenever the connection is lost.
func (c *Client) Run(ctx context.Context, handler Handler) {
	retry := time.Second
	for ctx.Err() == nil {
		connected, err := c.serve(ctx, handler)
		if connected {
			retry = time.Second
		}
		if ctx.Err() != nil || err == nil {
			continue
		}
		log.Printf("not connected to the hub, trying again in %s: %v", retry, err)
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		if retry *= 2; retry > lastRetry {
			retry = lastRetry
		}
	}
}

// serve serves one connection until it ends; without an error, if that was for a new token or the module's end.
func (c *Client) serve(ctx context.Context, handler Handler) (connected bool, err error) {
	// Each connection has a token of its own, so a new token means a new connection.
	token, err := c.environment.token(ctx, tokenLasts)
	if err != nil {
		return false, err
	}
	configuration := &tls.Config{RootCAs: c.trusted, ServerName: c.environment.gateway, MinVersion: tls.VersionTLS12}
	link, err := dial(ctx, c.environment, token, configuration)
	if err != nil {
		return false, err
	}
	log.Printf("connected to the hub at %s", c.environment.gateway)
	if err := c.begin(link); err != nil {
		link.close()
		return true, err
	}
	defer c.end(link)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan publication, eventsWaiting)
	handled := make(chan struct{})
	go func() {
		defer close(handled)
		c.handle(ctx, link, handler, events)
	}()
	lost := make(chan error, 1)
	go func() { lost <- link.read(events, c.settle) }()
	renewal := time.NewTimer(tokenLasts - renewBefore)
	defer renewal.Stop()
	ping := time.NewTicker(keepAlive / 2)
	defer ping.Stop()
	isOver := false
	for err == nil && !isOver {
		select {
		case err = <-lost:
		case <-ctx.Done():
			isOver = true
		case <-renewal.C:
			isOver = true
		case <-ping.C:
			err = link.write(packet{kind: packetPing})
		}
	}
	// What is being worked on ends before the next connection begins.
	cancel()
	link.close()
	<-handled
	return true, err
}

// begin subscribes, asks for the desired properties, which may have changed, and sends what the hub may not have.
func (c *Client) begin(link *connection) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.connection = link
	filters := []string{
		"$iothub/methods/POST/#", "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#",
		c.environment.topics() + "/inputs/#",
	}
	if err := link.write(subscribe(c.freeID(), filters)); err != nil {
		return err
	}
	for _, unsettled := range c.unsettled {
		if err := link.write(unsettled.packet.again()); err != nil {
			return err
		}
	}
	c.requests++
	c.twin = c.requests
	return link.write(publish(c.freeID(), topicOfTwin(c.twin), []byte(" ")))
}

func (c *Client) end(link *connection) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.connection == link {
		c.connection = nil
	}
}

// freeID is an identifier that no unsettled publication has. The lock is held.
func (c *Client) freeID() uint16 {
	for {
		c.next++
		if _, taken := c.unsettled[c.next]; c.next != 0 && !taken {
			return c.next
		}
	}
}

// publish sends, and waits until the hub has it, over however many connections.
func (c *Client) publish(ctx context.Context, topic string, body []byte) error {
	c.lock.Lock()
	id := c.freeID()
	sent := &unsettled{packet: publish(id, topic, body), done: make(chan struct{})}
	c.unsettled[id] = sent
	link := c.connection
	c.lock.Unlock()
	if link != nil {
		// Where this fails the connection is lost, and the next one sends it again.
		_ = link.write(sent.packet)
	}
	select {
	case <-sent.done:
		return nil
	case <-ctx.Done():
		c.lock.Lock()
		delete(c.unsettled, id)
		c.lock.Unlock()
		return ctx.Err()
	}
}

func (c *Client) settle(id uint16) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if sent, known := c.unsettled[id]; known {
		delete(c.unsettled, id)
		close(sent.done)
	}
}

// Send sends a message, and returns when the hub has it.
func (c *Client) Send(ctx context.Context, output string, message Message) error {
	return c.publish(ctx, c.environment.topics()+"/messages/events/"+message.bag(output), message.Body)
}

// Report reports properties of the module's twin.
func (c *Client) Report(ctx context.Context, properties map[string]any) error {
	body, err := json.Marshal(properties)
	if err != nil {
		return err
	}
	c.lock.Lock()
	c.requests++
	request := c.requests
	c.lock.Unlock()
	return c.publish(ctx, topicOfReport(request), body)
}

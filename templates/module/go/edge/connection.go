package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	port          = "8883"
	keepAlive     = time.Minute
	connectWithin = 30 * time.Second
	writeWithin   = 30 * time.Second
)

// connection is one connection with the hub.
type connection struct {
	stream net.Conn
	reader *bufio.Reader
	lock   sync.Mutex
}

// dial connects, and says who the module is.
func dial(ctx context.Context, self environment, token string, configuration *tls.Config) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	dialer := tls.Dialer{Config: configuration}
	stream, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(self.gateway, port))
	if err != nil {
		return nil, err
	}
	link := &connection{stream: stream, reader: bufio.NewReader(stream)}
	if err := link.introduce(self, token); err != nil {
		stream.Close()
		return nil, err
	}
	return link, nil
}

func (c *connection) introduce(self environment, token string) error {
	if err := c.write(connect(self.clientID(), self.userName(), token, uint16(keepAlive/time.Second))); err != nil {
		return err
	}
	c.stream.SetReadDeadline(time.Now().Add(connectWithin))
	answer, err := readPacket(c.reader)
	if err != nil {
		return err
	}
	if answer.kind != packetConnectAck || len(answer.body) != 2 {
		return errors.New("the hub does not speak MQTT")
	}
	if code := answer.body[1]; code != 0 {
		return fmt.Errorf("the hub refuses the connection with code %d", code)
	}
	return nil
}

// read hands over what arrives until the connection is lost.
func (c *connection) read(events chan<- publication, settle func(uint16)) error {
	defer close(events)
	for {
		// The hub answers the pings.
		c.stream.SetReadDeadline(time.Now().Add(2 * keepAlive))
		arrived, err := readPacket(c.reader)
		if err != nil {
			return err
		}
		switch arrived.kind {
		case packetPublishAck:
			if len(arrived.body) >= 2 {
				settle(binary.BigEndian.Uint16(arrived.body))
			}
		case packetPublish:
			publication, err := arrived.publication()
			if err != nil {
				return err
			}
			select {
			case events <- publication:
			default:
				return errors.New("the module does not keep up; the hub will deliver again")
			}
		case packetSubscribeOK, packetPingAnswer:
		default:
			return fmt.Errorf("the hub sent a packet of kind %d", arrived.kind)
		}
	}
}

func (c *connection) write(packet packet) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.stream.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err := c.stream.Write(packet.bytes())
	return err
}

// close takes leave of the hub, if it is still there.
func (c *connection) close() {
	_ = c.write(packet{kind: packetDisconnect})
	c.stream.Close()
}

package edge

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The packets of MQTT 3.1.1 that a module needs.
const (
	packetConnect     = 1
	packetConnectAck  = 2
	packetPublish     = 3
	packetPublishAck  = 4
	packetSubscribe   = 8
	packetSubscribeOK = 9
	packetPing        = 12
	packetPingAnswer  = 13
	packetDisconnect  = 14
)

// largestPacket is more than the largest message of a hub, in bytes.
const largestPacket = 512 * 1024

type packet struct {
	kind  byte
	flags byte
	body  []byte
}

// publication is a message that arrives.
type publication struct {
	topic string
	// id is zero for one that is not to be acknowledged.
	id   uint16
	body []byte
}

func readPacket(reader *bufio.Reader) (packet, error) {
	first, err := reader.ReadByte()
	if err != nil {
		return packet{}, err
	}
	length, shift := 0, 0
	for {
		digit, err := reader.ReadByte()
		if err != nil {
			return packet{}, err
		}
		length |= int(digit&0x7f) << shift
		if digit&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return packet{}, errors.New("the hub sent a length of more than four bytes")
		}
	}
	if length > largestPacket {
		return packet{}, fmt.Errorf("the hub sent a packet of %d bytes", length)
	}
	body := make([]byte, length)
	_, err = io.ReadFull(reader, body)
	return packet{kind: first >> 4, flags: first & 0x0f, body: body}, err
}

// bytes writes a packet.
func (p packet) bytes() []byte {
	written := []byte{p.kind<<4 | p.flags}
	length := len(p.body)
	for {
		digit := byte(length & 0x7f)
		if length >>= 7; length > 0 {
			written = append(written, digit|0x80)
			continue
		}
		return append(append(written, digit), p.body...)
	}
}

func text(to []byte, value string) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(value))), value...)
}

// connect opens a session that outlives the connection, with user and password.
func connect(client, user, password string, keepAliveSeconds uint16) packet {
	const userAndPassword = 0xc0
	body := append(text(nil, "MQTT"), 4, userAndPassword)
	body = binary.BigEndian.AppendUint16(body, keepAliveSeconds)
	return packet{kind: packetConnect, body: text(text(text(body, client), user), password)}
}

func subscribe(id uint16, filters []string) packet {
	body := binary.BigEndian.AppendUint16(nil, id)
	for _, filter := range filters {
		const atLeastOnce = 1
		body = append(text(body, filter), atLeastOnce)
	}
	return packet{kind: packetSubscribe, flags: 2, body: body}
}

func publish(id uint16, topic string, content []byte) packet {
	const atLeastOnce = 2
	body := binary.BigEndian.AppendUint16(text(nil, topic), id)
	return packet{kind: packetPublish, flags: atLeastOnce, body: append(body, content...)}
}

// again is the same publication, sent once more.
func (p packet) again() packet {
	p.flags |= 8
	return p
}

func acknowledge(id uint16) packet {
	return packet{kind: packetPublishAck, body: binary.BigEndian.AppendUint16(nil, id)}
}

// publication reads a publication.
func (p packet) publication() (publication, error) {
	short := errors.New("the hub sent a publication that is too short")
	if len(p.body) < 2 {
		return publication{}, short
	}
	end := 2 + int(binary.BigEndian.Uint16(p.body))
	hasID := p.flags&6 != 0
	if len(p.body) < end || hasID && len(p.body) < end+2 {
		return publication{}, short
	}
	read := publication{topic: string(p.body[2:end]), body: p.body[end:]}
	if hasID {
		read.id, read.body = binary.BigEndian.Uint16(p.body[end:]), p.body[end+2:]
	}
	return read, nil
}

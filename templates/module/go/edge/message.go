package edge

import (
	"fmt"
	"net/url"
	"sort"
	"strings"
)

// Message is a message between modules.
type Message struct {
	Body []byte
	// Properties are what the sender says about the message; routes can look at them.
	Properties map[string]string
	// ContentType is such as "application/json"; routes look into a body only if it is that.
	ContentType string
	// ContentEncoding is such as "utf-8".
	ContentEncoding string
	MessageID       string
	CorrelationID   string
}

// system are the properties that the hub knows, by their names in a topic.
func (m *Message) system() map[string]*string {
	return map[string]*string{
		"$.mid": &m.MessageID, "$.cid": &m.CorrelationID, "$.ct": &m.ContentType, "$.ce": &m.ContentEncoding,
	}
}

// bag writes the properties as they stand in a topic.
func (m Message) bag(output string) string {
	pairs := []string{"%24.on=" + encode(output)}
	var rest []string
	for key, value := range m.system() {
		if *value != "" {
			rest = append(rest, encode(key)+"="+encode(*value))
		}
	}
	for key, value := range m.Properties {
		rest = append(rest, encode(key)+"="+encode(value))
	}
	sort.Strings(rest)
	return strings.Join(append(pairs, rest...), "&")
}

// readMessage makes a message from the properties in its topic.
func readMessage(bag string, body []byte) Message {
	message := Message{Body: body, Properties: map[string]string{}}
	system := message.system()
	for _, pair := range strings.Split(strings.TrimRight(bag, "/"), "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key == "" {
			continue
		}
		key, value = decode(key), decode(value)
		if place, isSystem := system[key]; isSystem {
			*place = value
		} else {
			message.Properties[key] = value
		}
	}
	return message
}

// encode percent-encodes all but letters, digits and "-_.~".
func encode(text string) string {
	var encoded strings.Builder
	for _, b := range []byte(text) {
		isLetter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if isLetter || b >= '0' && b <= '9' || strings.IndexByte("-_.~", b) >= 0 {
			encoded.WriteByte(b)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", b)
		}
	}
	return encoded.String()
}

// decode undoes that; a plus is a plus.
func decode(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}
